"""A run whose model is trained: what it kept for new rows, each file held against the record of its stage."""

import json
import pathlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hvdedge import records
from hvdedge.errors import InputError
from hvdedge.methods import unknown
from hvdedge.qualities import VALIDATION
from hvdedge.records import RunRecord

STAGES = ("prepare", "clean", "extract", "train")  # that have to be done
WORSE = 0.005  # of the rows: how much less accurate than the best model a smaller one may be
MORE_ERROR = 1.01  # times the best model's, where models are judged by their errors
KERAS = "model.keras"


@dataclass(frozen=True)
class TrainedRun:
    """A run that new rows can be read and told by.

    Attributes:
        records: stage -> what it did, of the stages that read what those before them made last.
    """

    folder: pathlib.Path
    records: dict[str, RunRecord]

    def options(self, stage: str) -> dict[str, Any]:
        """Return all that decided what a stage made."""
        return self.records[stage].options

    def read(self, stage: str, name: str) -> bytes:
        """Return what a file holds that a stage wrote.

        Raises:
            InputError: where it is not there, or was changed since.
        """
        return self.check(stage, name).read_bytes()

    def check(self, stage: str, name: str) -> pathlib.Path:
        """Return the path of a file that a stage wrote.

        Raises:
            InputError: where it is not there, or was changed since.
        """
        path = self.folder / name
        output = self.records[stage].outputs.get(name)
        if output is None:
            raise InputError(
                f"{path}: received a run of an older version, whose {stage} did not write it, allowed: one that has "
                f"it; run again with --from {stage}"
            )
        if not path.is_file() or records.sha256(path) != output.sha256:
            raise InputError(
                f"{path}: received no file that is as {stage} wrote it, allowed: SHA-256 {output.sha256[:8]}...; copy "
                f"it again, or run again with --from {stage}"
            )
        return path

    def read_json(self, stage: str, name: str, is_needed: bool = True) -> Any:
        """Return what a file of JSON holds; None for one that is not needed and not there."""
        if not is_needed and (name not in self.records[stage].outputs or not (self.folder / name).exists()):
            return None
        return json.loads(self.read(stage, name))

    def choose_model(self, wanted: str | None) -> str:
        """Return the name of the compressed model that is to be used, KERAS where there is none.

        Args:
            wanted: its name, as in compress.json; None for the smallest one that is about as good as the best.
        Raises:
            InputError: where there is none of that name.
        """
        record = self.records.get("compress")
        models = record.metrics.get("models", {}) if record is not None and record.status == "done" else {}
        if wanted is not None and wanted not in models:
            raise InputError(unknown("--model", wanted, models))
        return wanted or smallest(models) or KERAS


def smallest(models: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the model of fewest bytes among those about as good as the best; "" for none.

    That is within half a hundredth of the rows of its accuracy, or within a hundredth of its error: over the validation
    rows, as those of the test are not to choose anything, or over the test where there are no others.
    """
    if not models:
        return ""
    measure = next(name for name in ("accuracy", "mse", "rmse") if name in next(iter(models.values())))
    if all(f"{VALIDATION}{measure}" in its for its in models.values()):
        measure = f"{VALIDATION}{measure}"
    values = {name: its[measure] for name, its in models.items()}
    if measure.endswith("accuracy"):
        good = [name for name, value in values.items() if value >= max(values.values()) - WORSE]
    else:
        good = [name for name, value in values.items() if value <= MORE_ERROR * min(values.values())]
    return min(good, key=lambda name: models[name]["bytes"])


def open_run(folder: pathlib.Path) -> TrainedRun:
    """Return the run in a folder.

    Raises:
        InputError: where there is none, or its model is not trained.
    """
    if not folder.is_dir():
        raise InputError(
            f"{folder}: received no folder, allowed: that of a run, such as results/digits/latest; name one"
        )
    found = records.current(records.read_run(folder))
    if not found:
        runs = sorted((path.parent for path in folder.glob("*/prepare.json")), key=lambda path: path.name)
        remedy = f"name {runs[-1]}" if runs else "name one, such as results/digits/latest"
        raise InputError(f"{folder}: received a folder without the record of a run, allowed: that of a run; {remedy}")
    undone = [stage for stage in STAGES if stage not in found or found[stage].status != "done"]
    if undone:
        raise InputError(
            f"{folder}: received a run of which {undone[0]} is not done, allowed: one with a trained model; run it "
            "with --to compress"
        )
    return TrainedRun(folder, found)
