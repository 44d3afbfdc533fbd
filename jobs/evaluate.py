"""Judge the model on the test rows, and the repairs where the truth is known: model.keras -> evaluate.json."""

import numpy as np

from hvdedge.errors import InputError
from hvdedge.parallel import agree, block
from hvdedge.repairs import judge
from hvdedge.stage import Stage, start
from hvdedge.tensors import open_features


def main(stage: Stage) -> None:
    """Judge the model on the test rows, and the repairs where the truth is known."""
    from hvdedge import training  # here, so that a wrong setting is told before TensorFlow's four seconds

    training.configure(stage.comm, stage.pipeline.seed)
    stage.metrics.update(_score(stage, ""))
    if stage.pipeline.sections["extract"].settings["uncleaned"]:
        stage.tell("the model trained on uncleaned rows")
        stage.metrics["uncleaned"] = _score(stage, "uncleaned/")
    truth = stage.check_settings()["truth"]
    if truth:
        stage.tell("repairs against the truth")
        stage.metrics["repairs"] = judge(stage.folder, truth, stage.comm, stage.read_table)


def _score(stage: Stage, variant: str) -> dict:
    """Collective. Return the scores of the model in the run's folder `variant` on its test rows, over all ranks."""
    import keras

    from hvdedge import tasks
    from hvdedge.graph_layers import attach

    for name in ("features.h5", "features.json", "features", "model.keras"):
        stage.check_input(f"{variant}{name}")
    reader = open_features(stage.folder / variant / "features.h5")
    with agree(stage.comm):
        if not reader.rows("test"):
            raise InputError("extract.test: received a share that leaves no row for the test, allowed: more; raise it")
    x, y = reader.read("test", block(reader.rows("test"), stage.comm.size, stage.comm.rank))
    model = keras.models.load_model(stage.folder / variant / "model.keras", compile=False)
    attach(model, reader)
    task = tasks.find(reader.spec)
    outputs = (
        model.predict(x, batch_size=256, verbose=0) if len(x) else np.empty((0, *model.output_shape[1:]), np.float32)
    )
    return task.judge(x, y, outputs, stage.comm)


if __name__ == "__main__":
    start("evaluate", main)
