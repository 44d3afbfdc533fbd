"""Judge the model on the test rows, and the repairs where the truth is known: model.keras -> evaluate.json."""

from hvdedge.judging import judge
from hvdedge.repairs import judge as judge_repairs
from hvdedge.stage import Stage, start


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
        stage.metrics["repairs"] = judge_repairs(stage.folder, truth, stage.comm, stage.read_table)


def _score(stage: Stage, variant: str) -> dict:
    """Collective. Return the scores of the model in the run's folder `variant` on its test rows, over all ranks."""
    for name in ("features.h5", "features.json", "features", "model.keras"):
        stage.check_input(f"{variant}{name}")
    return judge(stage.folder / variant, "test", stage.comm)


if __name__ == "__main__":
    start("evaluate", main)
