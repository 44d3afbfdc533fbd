"""Photos of 12 million pixels to 64 x 64: the prepare stage on one and two ranks, decoding and from its cache.

The photos are cuts of the two that scikit-learn ships, enlarged. Each round runs all in turn. One JSON line for each
number of ranks; the seconds are those of the stage, its start included.

    python bench/image_decoding.py [--images 200] [--height 3000] [--rounds 1] [--memory 256MB]
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
RANKS = (1, 2)


def main() -> None:
    """Run the rounds and print what each number of ranks took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--height", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--memory", default="256MB")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place)
        size = _make(folder / "photos", arguments.images, arguments.height)
        taken: dict[tuple[int, str], list[tuple[float, float, int]]] = {}
        for _ in range(arguments.rounds):
            (folder / "cache").mkdir()
            for ranks in RANKS:
                for how in ("decoded", "cached"):
                    taken.setdefault((ranks, how), []).append(_prepare(folder, ranks, arguments.memory))
            shutil.rmtree(folder / "cache")
    for ranks in RANKS:
        seconds = {how: statistics.median(took for took, _, _ in taken[ranks, how]) for how in ("decoded", "cached")}
        figure = {
            "figure": f"image_folder / {ranks} ranks",
            "images": arguments.images,
            "megabytes": round(size / 1e6),
            "images_per_second": {how: round(arguments.images / its, 1) for how, its in seconds.items()},
            "cpu_seconds": {how: round(statistics.median(c for _, c, _ in taken[ranks, how]), 1) for how in seconds},
            "peak_rss_megabytes": {how: round(max(p for _, _, p in taken[ranks, how]) / 1e6) for how in seconds},
        }
        print(json.dumps(figure), flush=True)


def _make(folder: pathlib.Path, images: int, height: int) -> int:
    """Write the photos; return their bytes."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_sample_images

    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    rng = np.random.default_rng(1)
    for number in range(images):
        kind = number % 2
        width, top = photos[kind].width // 2, photos[kind].height // 2
        left, upper = rng.integers(0, width), rng.integers(0, top)
        cut = photos[kind].crop((left, upper, left + width, upper + top)).resize((height * 4 // 3, height))
        path = folder / ("china", "flower")[kind] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        cut.save(path, quality=90)
    return sum(path.stat().st_size for path in folder.rglob("*.jpg"))


def _prepare(folder: pathlib.Path, ranks: int, memory: str) -> tuple[float, float, int]:
    """Return the seconds of the stage, those of the processor of all ranks, and the most that a rank held."""
    (folder / "bench.toml").write_text(
        f'case = "bench"\nmemory = "{memory}"\n[prepare]\nreader = "image_folder"\nsource = "photos"\ncache = "cache"\n'
    )
    command = [sys.executable, "-m", "hvdedge", "run", str(folder / "bench.toml"), "--ranks", str(ranks)]
    command += ["--to", "prepare", "--results", str(folder / "results"), "--run", "one"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    record = json.loads((folder / "results/bench/one/prepare.json").read_text())
    shutil.rmtree(folder / "results")
    costs = record["ranks"]
    cpu_seconds = sum(rank["cpu_seconds"] for rank in costs)
    return record["wall_seconds"], cpu_seconds, max(rank["peak_rss_bytes"] for rank in costs)


if __name__ == "__main__":
    main()
