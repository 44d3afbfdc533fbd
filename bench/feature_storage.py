"""Features on disk as float32 and as extract.storage = "auto" keeps them: bytes, and CPU seconds to write and read.

python bench/feature_storage.py [--rounds 3]; prints one JSON line a kind of features.
"""

import argparse
import json
import pathlib
import resource
import statistics
import tempfile

import numpy as np
from mpi4py import MPI

from hvdedge import storage, tensors
from hvdedge.records import to_json

ROWS = 20_000
KINDS = ("pixels", "standardised", "tokens")


def main() -> None:
    """Write and read each kind of features in turn in both ways."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    for kind in KINDS:
        features = _made(kind)
        taken: dict[str, list] = {"float32": [], "auto": []}
        for _ in range(rounds):
            for way, seconds in taken.items():
                with tempfile.TemporaryDirectory() as folder:
                    seconds.append(_cycle(features, way, pathlib.Path(folder)))
        made = ROWS * np.dtype(features.x_type).itemsize * int(np.prod(features.spec["input_shape"]))
        sizes = {way: found[0]["bytes"] for way, found in taken.items()}
        line = {"features": kind, "rows": ROWS, "type": taken["auto"][0]["type"], "bytes_as_made": made, "bytes": sizes}
        for step in ("write_cpu_seconds", "read_cpu_seconds"):
            line[step] = {way: round(statistics.median(one[step] for one in taken[way]), 3) for way in taken}
        print(json.dumps(line), flush=True)


def _made(kind: str) -> tensors.Features:
    rng = np.random.default_rng(1)
    if kind == "pixels":
        x = (rng.integers(0, 256, (ROWS, 28, 28, 1)) / 255).astype(np.float32)
    elif kind == "standardised":
        x = rng.normal(0, 1, (ROWS, 100)).astype(np.float32)
    else:
        x = rng.integers(0, 10_000, (ROWS, 100), dtype=np.int32)
    y = rng.integers(0, 10, ROWS)

    def batches():
        for start in range(0, ROWS, 1000):
            part = slice(start, start + 1000)
            yield np.zeros(len(y[part]), np.uint8), x[part], y[part]

    spec = {"task": "classification", "input_shape": [*x.shape[1:]], "classes": [*range(10)]}
    return tensors.Features(spec, batches, x_type=str(x.dtype))


def _cycle(features: tensors.Features, way: str, folder: pathlib.Path) -> dict:
    began, draft, path = _cpu_seconds(), folder / "draft.h5", folder / "features.h5"
    tensors.write_part(features, draft)
    kept = storage.choose(lambda: (x for _, x in tensors.blocks(draft)), features.x_type, way, MPI.COMM_SELF)
    tensors.pack(draft, folder / "part.h5", kept)
    tensors.join(folder, ["part.h5"], path, kept)
    (folder / "features.json").write_bytes(to_json(features.spec))
    written = _cpu_seconds()
    tensors.open_features(path).read("train", slice(None))
    told = {"type": kept.type, "bytes": (folder / "part.h5").stat().st_size}
    return {**told, "write_cpu_seconds": written - began, "read_cpu_seconds": _cpu_seconds() - written}


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
