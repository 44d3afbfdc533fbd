"""Train the model over all ranks: features.h5 -> model.keras, checkpoints/, tensorboard/; or search for its options."""

import functools
import hashlib
import json
import socket
import typing
from collections.abc import Callable

from hvdedge.parallel import agree
from hvdedge.records import sha256
from hvdedge.stage import Stage, start
from hvdedge.tensors import open_features

MADE = ("model.keras", "checkpoints", "tensorboard")


def main(stage: Stage) -> None:
    """Train the model over all ranks."""
    from hvdedge import training, tuning  # here, so that a wrong setting is told before TensorFlow's four seconds

    training.configure(stage.comm, stage.pipeline.seed)
    compare = train_uncleaned if stage.pipeline.sections["extract"].settings["uncleaned"] else None
    if stage.pipeline.tune:
        tuning.tune(stage, _works(), compare)
        return
    train(stage)
    if compare:
        compare(stage)


def _works() -> dict[str, Callable[[Stage], None]]:
    """Return what the stages of a trial do."""
    import clean  # beside this file
    import extract
    import prepare
    import profile_data

    programs = {"prepare": prepare, "clean": clean, "profile": profile_data, "extract": extract}
    return {name: program.main for name, program in programs.items()} | {"train": train}


def train(stage: Stage) -> None:
    """Collective. Train the model."""
    metrics, stage.history = _train(stage, "")
    stage.metrics.update(metrics)


def train_uncleaned(stage: Stage) -> None:
    """Collective. Train once more on the rows as they were before clean, to compare."""
    stage.tell("once more on the rows as they were before clean, to compare: extract.uncleaned asks for it")
    stage.metrics["uncleaned"], history = _train(stage, "uncleaned/")
    del history["epoch_seconds"]
    for name, curve in history.items():
        score = name.removeprefix("validation_")
        stage.history[f"{name.removesuffix(score)}uncleaned_{score}"] = curve


def _train(stage: Stage, variant: str) -> tuple[dict, dict]:
    """Collective. Train on the features in the run's folder `variant`; return the metrics and the history."""
    import tensorflow as tf

    from hvdedge import training, transfer
    from hvdedge.graph_layers import attach

    for name in ("features.h5", "features.json", "features"):
        stage.check_input(f"{variant}{name}")
    features = stage.folder / variant / "features.h5"
    settings = stage.check_settings()
    reader = open_features(features)
    logs = str(stage.folder / variant / "tensorboard")

    @functools.cache
    def writer(is_root: bool) -> tf.summary.SummaryWriter:  # another rank is the root when the first was lost
        return tf.summary.create_file_writer(logs) if is_root else tf.summary.create_noop_writer()

    on = {"on": "uncleaned rows"} if variant else {}  # said with each epoch, as these begin anew
    strategy = stage.method("strategy")
    kind = typing.get_type_hints(strategy.func)["task"]
    training.name_anew(stage.pipeline.seed)
    with kind.building():
        model = stage.method("model")(reader.spec)
    begun = None
    if settings["initial_weights"]:
        begun = transfer.pair(model, settings["initial_weights"], settings["frozen"], stage.comm)
        stage.note(what="initial_weights", action=begun.told)
    attach(model, reader)
    task = kind(
        model,
        reader,
        stage.comm,
        settings,
        seed=stage.pipeline.seed,
        folder=stage.folder / variant / "checkpoints",
        key=_key(stage, variant, begun.sha256 if begun else ""),
        memory_bytes=stage.pipeline.memory_bytes,
        scratch=stage.workspace.scratch,
        writer=lambda: writer(stage.is_root),
        tell=functools.partial(stage.tell, **on),
        speed=stage.cluster.speed(socket.gethostname()),
        note=lambda **event: stage.note(variant=variant.rstrip("/") or "cleaned", **event),
        lost=stage.go_on,
        initial=lambda: begun.arrays(model) if begun else (),
        local_ranks=stage.local_ranks,
        goes_on=stage.goes_on,
    )
    history = strategy(task, stage.comm)
    task.collect(stage.comm)
    transfer.thaw(model)
    with agree(stage.comm):
        if stage.is_root:
            with stage.output(f"{variant}model.keras") as path:
                task.save(path)
    with agree(stage.comm):
        for name in MADE if stage.is_root else ():  # another one, perhaps, than when training began
            stage.keep(f"{variant}{name}")
    last = {name: curve[history.best_epoch] for name, curve in history.curves.items() if name != "epoch_seconds"}
    return {**last, **history.metrics(stage.comm), "parameters": task.parameters}, history.curves


def _key(stage: Stage, variant: str, begun_with: str) -> str:
    """Return what a checkpoint must have in common with this run to be gone on with: all but how long to train."""
    options = stage.pipeline.options("train")
    made = stage.folder / variant
    files = [*sorted((made / "features").iterdir()), made / "features.h5", made / "features.json"]
    features = {path.name: sha256(path) for path in files}  # what x is kept as stands in features.h5
    open_options = ("epochs", "checkpoint_every", *stage.changing)
    kept = {name: value for name, value in options.items() if name not in open_options}
    return hashlib.sha256(json.dumps([kept, features, begun_with], sort_keys=True).encode()).hexdigest()


if __name__ == "__main__":
    start("train", main)
