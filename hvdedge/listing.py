"""The lists that `hvdedge show` prints of what can be used: methods with their options, clusters."""

from typing import Any

import msgspec

from hvdedge import clusters, config, methods
from hvdedge.options import spelled

UNNAMED = ("structure", "reports")  # readers and the page use all of them; a pipeline names none


def show_methods() -> None:
    """Print the settings of stages and what each method does, with its options, their defaults and what they may be."""
    print("settings of the stages, beside the options of their methods")
    for stage, settings in config.SETTINGS.items():
        print(f"  [{stage}]: {' '.join((settings.__doc__ or '').split())}")
        for field in msgspec.structs.fields(settings):
            print(_option(field.name, field.type, field.default))
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
                print(_option(name, option.type, option.default))


def _option(name: str, type: Any, default: Any) -> str:
    """Return the line for an option: its default as a pipeline would give it, and in words what it may be."""
    given = config.to_toml({name: default}).strip() or f"{name} (not set)"
    return f"      {given}: {spelled(type)}"


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
