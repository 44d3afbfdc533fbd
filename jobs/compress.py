"""Make the model small: model.keras -> compressed/*.tflite.gz, each run by the interpreter for its scores."""

import numpy as np
from mpi4py import MPI

from hvdedge import tasks
from hvdedge.compressed import CompressedModel, Runner
from hvdedge.parallel import agree, allgather_bytes, bcast_json, block
from hvdedge.stage import Stage, start
from hvdedge.tensors import open_features

SAMPLE_ROWS = 200


def main(stage: Stage) -> None:
    """Make the model small and measure what that costs in quality."""
    for name in ("features.h5", "features.json", "features", "model.keras"):
        stage.check_input(name)
    full_bytes = 0
    stored: dict[str, tuple[bytes, float]] = {}
    with agree(stage.comm):
        if stage.is_root:  # TensorFlow, half a gigabyte, on one rank; the interpreter is small
            full_bytes, stored = _chain(stage)
    full_bytes, names = bcast_json([full_bytes, [[name, left] for name, (_, left) in stored.items()]], stage.comm)
    stage.metrics["models"] = {}
    for name, left in names:
        content = allgather_bytes(stored[name][0] if stage.is_root else b"", stage.comm)[0]
        with agree(stage.comm):
            if stage.is_root:
                with stage.output(f"compressed/{name}.tflite.gz") as path:
                    path.write_bytes(content)
        measures, latency = _measure(stage, content)
        stage.metrics["models"][name] = {
            "bytes": len(content),
            "ratio": full_bytes / len(content),
            **measures,
            "weights_left": left,
            "latency_seconds": latency,
        }
        told = ", ".join(f"{measure} {value:.4f}" for measure, value in measures.items())
        stage.tell(f"{name}, {len(content):,} bytes, {told}")


def _chain(stage: Stage) -> tuple[int, dict[str, tuple[bytes, float]]]:
    """Return the bytes of all weights in float32, and name -> (file, share of weights left).

    The plain model comes first, then what each compressor of the chain makes of the one before.
    """
    import keras

    reader = open_features(stage.folder / "features.h5")
    sample, _ = reader.read("train", slice(0, min(SAMPLE_ROWS, reader.rows("train"))))
    small = CompressedModel(keras.models.load_model(stage.folder / "model.keras", compile=False))
    full_bytes = 4 * small.model.count_params()
    stored = {"float32": (small.store(sample), small.weights_left())}
    done = []
    for name, compress in stage.methods():
        small = compress(small, sample)
        done.append(name)
        stored["+".join(done)] = (small.store(sample), small.weights_left())
    return full_bytes, stored


def _measure(stage: Stage, content: bytes) -> tuple[dict[str, float], float]:
    """Collective. Return the measures of the task over all test rows, and the slowest rank's time for one row."""
    reader = open_features(stage.folder / "features.h5")
    x, y = reader.read("test", block(reader.rows("test"), stage.comm.size, stage.comm.rank))
    runner = Runner(content)
    measured = tasks.find(reader.spec).measures(y, runner.predict(x))
    sums = np.array([*(values.sum() for values in measured.values()), len(y)], np.float64)
    stage.comm.Allreduce(MPI.IN_PLACE, sums)
    latency = np.array(runner.latency_seconds(np.zeros(reader.spec["input_shape"], np.float32)))
    stage.comm.Allreduce(MPI.IN_PLACE, latency, op=MPI.MAX)
    return dict(zip(measured, (sums[:-1] / sums[-1]).tolist(), strict=True)), float(latency)


if __name__ == "__main__":
    start("compress", main)
