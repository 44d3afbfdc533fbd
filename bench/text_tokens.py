"""Text to token numbers, beside scikit-learn's CountVectorizer, in processor seconds.

python bench/text_tokens.py [--rounds 3]; prints one JSON line a way. 2,000,000 words of 109,343 different ones, with
frequencies by Zipf's law, in 50,000 rows (16 MB); one process, a vocabulary of 10,000.
"""

import argparse
import json
import pathlib
import resource
import statistics
import tempfile

import numpy as np
import pyarrow as pa
from mpi4py import MPI
from sklearn.feature_extraction.text import CountVectorizer

from hvdedge.features.text import extract
from hvdedge.parallel import MeteredComm
from hvdedge.tables import Table
from hvdedge.workspace import Workspace

WORDS, ROW = 2_000_000, 40


def main() -> None:
    """Take each way in turn, round by round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    texts = _texts()
    ways = {
        "words": lambda: _ours(texts, "words"),
        "subwords": lambda: _ours(texts, "subwords"),
        "characters": lambda: _ours(texts, "characters"),
        "CountVectorizer": lambda: CountVectorizer(max_features=10_000, token_pattern=r"\w+").fit_transform(texts),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, make in ways.items():
            began = _cpu_seconds()
            make()
            seconds[way].append(_cpu_seconds() - began)
    for way, taken in seconds.items():
        print(json.dumps({"way": way, "cpu_seconds": round(statistics.median(taken), 2), "words": WORDS}), flush=True)


def _texts() -> list[str]:
    rng = np.random.default_rng(0)
    syllables = [a + b + c for a in "bcdfghjklmnprstvw" for b in "aeiou" for c in ["", "n", "r", "s", "l"]]
    words = ["".join(rng.choice(syllables, rng.integers(1, 5))) for _ in range(120_000)]
    shares = 1 / np.arange(1, len(words) + 1)
    drawn = rng.choice(len(words), WORDS, p=shares / shares.sum())
    return [" ".join(words[place] for place in drawn[start : start + ROW]) for start in range(0, WORDS, ROW)]


def _ours(texts: list[str], tokens: str) -> None:
    count = len(texts)
    rows = pa.table(
        {"text": texts, "label": ["a", "b"] * (count // 2), "_split": pa.array(np.zeros(count), pa.uint8())}
    )
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(pathlib.Path(folder), pathlib.Path(folder), 256_000_000)
        table = Table.from_batches(rows.schema, rows.to_batches(8192), workspace)
        features = extract(table, MeteredComm(MPI.COMM_SELF), tokens=tokens)
        for _ in features.batches():
            pass


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
