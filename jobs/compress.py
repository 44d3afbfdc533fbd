"""Make the model small: model.keras -> compressed/, each step of the chain run by the interpreter for its scores."""

import time
from collections.abc import Iterator

import numpy as np
from mpi4py import MPI

from hvdedge import tasks
from hvdedge.compressed import CompressedModel, Runner
from hvdedge.parallel import agree, allgather_bytes, bcast_json, block
from hvdedge.stage import Stage, start
from hvdedge.tensors import open_features

THOUSAND = 1000


def main(stage: Stage) -> None:
    """Make the model small and measure what that costs in quality, and spares in bytes and time."""
    for name in ("features.h5", "features.json", "features", "model.keras"):
        stage.check_input(name)
    stage.metrics["models"] = {}
    whole: dict[str, float] = {}
    first_latency = 0.0
    for name, small, content, seconds in _chain(stage):
        if stage.is_root:
            whole = whole or {"bytes": 4 * small.model.count_params(), "weights": small.weights}
        suffix, weights, whole = bcast_json([small.suffix, small.weights, whole], stage.comm)
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
        told = ", ".join(f"{measure} {value:.4f}" for measure, value in measures.items())
        stage.tell(f"{name}, {len(content):,} bytes, {told}, {THOUSAND * latency:.3g} ms")


def _chain(stage: Stage) -> Iterator[tuple[str, CompressedModel, bytes, float]]:
    """Collective. Yield the name, the model, the root's file and the seconds of the plain model, then of each step."""
    import keras

    from hvdedge import training
    from hvdedge.retraining import Retraining

    training.configure(stage.comm, stage.pipeline.seed)
    settings = stage.pipeline.sections["train"].settings
    data = Retraining(
        open_features(stage.folder / "features.h5"),
        stage.comm,
        batch_size=settings["batch_size"],
        learning_rate=settings["learning_rate"],
        seed=stage.pipeline.seed,
        memory_bytes=stage.pipeline.memory_bytes,
    )
    small = CompressedModel(keras.models.load_model(stage.folder / "model.keras", compile=False))
    yield "float32", small, _stored(stage, small, data.sample), 0.0
    done: list[str] = []
    for name, compress in stage.methods():
        began = time.perf_counter()
        small = compress(small, data)
        done.append(name)
        yield "+".join(done), small, _stored(stage, small, data.sample), time.perf_counter() - began


def _stored(stage: Stage, small: CompressedModel, sample: np.ndarray) -> bytes:
    """Collective. Return the file, which the root makes."""
    content = b""
    with agree(stage.comm):
        if stage.is_root:
            content = small.store(sample)
    return content


def _measure(stage: Stage, content: bytes) -> tuple[dict[str, float], float, dict[str, float | None]]:
    """Collective. Return the measures of the task over all test rows, and what a row costs on the slowest rank.

    The latency is the median; beside it stand what 95 of 100 rows do not exceed, and the energy of 1,000 rows.
    """
    reader = open_features(stage.folder / "features.h5")
    x, y = reader.read("test", block(reader.rows("test"), stage.comm.size, stage.comm.rank))
    runner = Runner(content)
    measured = tasks.find(reader.spec).measures(y, runner.predict(x))
    sums = np.array([*(values.sum() for values in measured.values()), len(y)], np.float64)
    stage.comm.Allreduce(MPI.IN_PLACE, sums)
    row = np.zeros(reader.spec["input_shape"], np.float32)
    before = stage.costs()["energy_joules"]
    taken = runner.latencies_seconds(row)
    after = stage.costs()["energy_joules"]
    joules = np.nan if before is None or after is None else THOUSAND * (after - before) / len(taken)
    costs = np.array([*np.percentile(taken, [50, 95]), joules])
    stage.comm.Allreduce(MPI.IN_PLACE, costs, op=MPI.MAX)
    latency, slow, joules = costs.tolist()
    told = {"latency_p95_seconds": slow, "joules_per_thousand": None if np.isnan(joules) else joules}
    return dict(zip(measured, (sums[:-1] / sums[-1]).tolist(), strict=True)), latency, told


if __name__ == "__main__":
    start("compress", main)
