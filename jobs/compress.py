"""Make the model small: model.keras -> compressed/, each step of the chain run by the interpreter for its scores."""

import itertools
import math
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from mpi4py import MPI

from hvdedge import tasks
from hvdedge.compressed import CompressedModel, Runner
from hvdedge.config import IN_RUN
from hvdedge.parallel import MeteredComm, agree, allgather_bytes, bcast_json, block, largest
from hvdedge.qualities import VALIDATION
from hvdedge.stage import Stage, start
from hvdedge.tensors import FeatureReader, open_features

if TYPE_CHECKING:
    from hvdedge.retraining import Retraining

THOUSAND = 1000
BLOCK_BYTES = 1 << 22  # of rows that are measured at once


def main(stage: Stage) -> None:
    """Make the model small and measure what that costs in quality, and spares in bytes and time."""
    for name in ("features.h5", "features.json", "features", "model.keras"):
        stage.check_input(name)
    stage.metrics["models"] = {}
    steps = [step.name for step in stage.section.methods]
    all_work = _needs_all(stage)
    chain = _chain(stage, stage.comm if all_work else stage.comm.Split(stage.comm.rank))
    whole: dict[str, float] = {}
    first_latency = 0.0
    for name in ("float32", *itertools.accumulate(steps, "{}+{}".format)):
        began = time.perf_counter()
        made = [next(chain)] if all_work else []
        content, told = b"", list[Any]()
        with agree(stage.comm):
            if stage.is_root:
                small, data = made[0] if made else next(chain)
                content = small.store(data.sample if small.bits else None)
                whole = whole or {"bytes": 4 * small.model.count_params(), "weights": small.weights}
                told = [small.suffix, small.weights, whole]
        seconds = time.perf_counter() - began if stage.metrics["models"] else 0.0
        suffix, weights, whole = bcast_json(told, stage.comm)
        content = allgather_bytes(content, stage.comm)[0]
        with agree(stage.comm):
            if stage.is_root:
                with stage.output(f"compressed/{name}{suffix}") as path:
                    path.write_bytes(content)
        measures, latency, costs = _measure(stage, content)
        first_latency = first_latency or latency
        stage.metrics["models"][name] = {
            "bytes": len(content),
            "ratio": whole["bytes"] / len(content),
            **measures,
            "weights_left": weights / whole["weights"],
            "latency_seconds": latency,
            **costs,
            "latency_ratio": latency / first_latency,
            "seconds": seconds,
        }
        scores = {measure: value for measure, value in measures.items() if not measure.startswith(VALIDATION)}
        scored = ", ".join(f"{measure} {value:.4f}" for measure, value in scores.items())
        stage.tell(f"{name}, {len(content):,} bytes, {scored}, {THOUSAND * latency:.3g} ms")


def _needs_all(stage: Stage) -> bool:
    """Tell whether a step trains, or takes a file of the run, which all ranks hold against its checksum.

    Else the root works alone, and the others load neither TensorFlow nor the model.
    """
    options = [step.options for step in stage.section.methods]
    return any(its.get("epochs") or any(str(value).startswith(IN_RUN) for value in its.values()) for its in options)


def _chain(stage: Stage, comm: MeteredComm) -> Iterator[tuple[CompressedModel, "Retraining"]]:
    """Collective. Yield the plain model, then what each step leaves of it, with the training rows.

    Args:
        comm: of the ranks that work.
    """
    import keras

    from hvdedge import training, transfer
    from hvdedge.retraining import Retraining

    training.configure(comm, stage.pipeline.seed)
    settings = stage.pipeline.sections["train"].settings
    data = Retraining(
        open_features(stage.folder / "features.h5"),
        comm,
        batch_size=settings["batch_size"],
        learning_rate=settings["learning_rate"],
        seed=stage.pipeline.seed,
        memory_bytes=stage.pipeline.memory_bytes,
    )
    small = CompressedModel(keras.models.load_model(stage.folder / "model.keras", compile=False))
    transfer.freeze(small.model, settings["frozen"])
    yield small, data
    for _, compress in stage.methods():
        small = compress(small, data)
        yield small, data


def _measure(stage: Stage, content: bytes) -> tuple[dict[str, float], float, dict[str, float | None]]:
    """Collective. Return the measures of the task, and what a row costs on the slowest rank.

    The measures are those over all test rows and, by other names, over all validation rows, by which one of several
    models is chosen. The latency is the median; beside it stand what 95 of 100 rows do not exceed, and the energy of
    1,000 rows, if all ranks know theirs.
    """
    reader = open_features(stage.folder / "features.h5")
    runner = Runner(content)
    measures = _scores(stage.comm, runner, reader, "test")
    if reader.rows("validation"):
        found = _scores(stage.comm, runner, reader, "validation")
        measures |= {f"{VALIDATION}{name}": value for name, value in found.items()}
    row = np.zeros(reader.spec["input_shape"], np.float32)
    joules: list[float | None] = []
    taken = runner.latencies_seconds(row, lambda: joules.append(stage.costs()["energy_joules"]))
    joules.append(stage.costs()["energy_joules"])
    before, after = joules
    each = None if before is None or after is None else THOUSAND * (after - before) / len(taken)
    latency, slow, thousand = largest([*np.percentile(taken, [50, 95]).tolist(), each], stage.comm)
    assert latency is not None
    return measures, latency, {"latency_p95_seconds": slow, "joules_per_thousand": thousand}


def _scores(comm: MeteredComm, runner: Runner, reader: FeatureReader, split: str) -> dict[str, float]:
    """Collective. Return the measures of the task over all rows of a split."""
    task = tasks.find(reader.spec)
    rows = block(reader.rows(split), comm.size, comm.rank)
    at_once = max(BLOCK_BYTES // max(4 * math.prod(reader.spec["input_shape"]), 1), 1)
    sums: dict[str, float] = {}
    for first in range(rows.start, max(rows.stop, rows.start + 1), at_once):
        x, y = reader.read(split, slice(first, min(first + at_once, rows.stop)))
        for name, values in task.measures(y, runner.predict(x)).items():
            sums[name] = sums.get(name, 0.0) + float(values.sum())
    total = np.array([*sums.values(), rows.stop - rows.start], np.float64)
    comm.Allreduce(MPI.IN_PLACE, total)
    return dict(zip(sums, (total[:-1] / total[-1]).tolist(), strict=True))


if __name__ == "__main__":
    start("compress", main)
