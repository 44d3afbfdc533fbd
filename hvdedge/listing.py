"""The lists that `hvdedge show` prints of what can be used: methods with their options, clusters."""

import msgspec

from hvdedge import clusters, config, methods

UNNAMED = ("structure", "reports")  # readers and the page use all of them; a pipeline names none


def show_methods() -> None:
    """Print the settings of every stage, and every method: its name, what it does, its options and their defaults."""
    print("settings of the stages, beside the options of their methods")
    for stage, settings in config.SETTINGS.items():
        print(f"  [{stage}]: {' '.join((settings.__doc__ or '').split())}")
        for field in msgspec.structs.fields(settings):
            print(f"      {field.name} = {field.default!r}")
    for kind in methods.FUNCTIONS:
        if kind in UNNAMED:
            continue
        found = [methods.find(kind, name, kind) for name in methods.names(kind)]
        if not found:
            continue
        print(f"{kind}")
        for method in found:
            print(f"  {method.name}: {method.summary}")
            for name, option in method.options.items():
                print(f"      {name}: {option.written} = {option.default!r}")


def show_clusters() -> None:
    """Print every cluster: hosts, slots, how it is started, watts."""
    for name in clusters.names():
        cluster = clusters.read_cluster(name)
        usual = cluster.settings.usual
        watts = (
            f", {usual.idle_watts:g} to {usual.busy_watts:g} W a host"
            if usual.idle_watts is not None and usual.busy_watts is not None
            else ""
        )
        memory = f", {usual.memory} each" if usual.memory else ""
        slots = f"{len(cluster.slots)} hosts, {cluster.total_slots} slots"
        print(f"{name}: {slots}, start {cluster.settings.start}{memory}{watts}")
