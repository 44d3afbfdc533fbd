"""Text from its CSV file to a trained and compressed bag of words; what it refuses."""

import csv

import numpy as np
import pytest

from hvdedge.tensors import open_features

TOML = """case = "mail"
memory = "64MB"
[prepare]
reader = "csv"
source = "mail.csv"
[extract]
extractor = "text"
label = "kind"
tokens = "subwords"
vocabulary = 200
[train]
model = "embedding"
epochs = 6
learning_rate = 0.02
[compress.fixed_point]
[evaluate]
"""


@pytest.fixture
def mail(tmp_path):
    """A pipeline on 300 messages, of which those that name a prize are spam."""
    rng = np.random.default_rng(4)
    words = ["see", "you", "at", "home", "tonight", "call", "me", "later", "please", "thanks"]
    with open(tmp_path / "mail.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["kind", "text"])
        for number in range(300):
            text = [*rng.choice(words, rng.integers(3, 9)), *(["prize!"] if number % 3 == 0 else [])]
            rows.writerow(["spam" if number % 3 == 0 else "ham", " ".join(rng.permutation(text))])
    (tmp_path / "mail.toml").write_text(TOML)
    return tmp_path


def run(hvdedge, mail, *words):
    return hvdedge("run", mail / "mail.toml", "--ranks", 2, "--results", mail / "results", "--run", "a", *words)


@pytest.mark.slow
def test_text_is_learnt_end_to_end(mail, hvdedge, record):
    done = run(hvdedge, mail, "--to", "evaluate")
    assert done.status == 0, done.err
    folder = mail / "results/mail/a"
    metrics = record(folder, "extract")["metrics"]
    assert metrics["decisions"]["text"].startswith("subwords: ")
    assert metrics["left_out"] == {}
    cells = 300 * metrics["shape"][0]
    assert metrics["storage"] == {
        **{"type": "uint8", "bytes": cells, "bytes_as_made": 4 * cells},
        **{"largest_error": 0.0, "largest_error_share": 0.0},
    }
    assert open_features(folder / "features.h5").read("train", slice(0, 2))[0].dtype == np.int32
    assert record(folder, "evaluate")["metrics"]["accuracy"] > 0.95  # the word decides
    assert record(folder, "compress")["metrics"]["models"]["fixed_point"]["accuracy"] > 0.95


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            "extract.column=texts",
            "extract.column: received 'texts', which matches no column, allowed: kind, text",
        ),
        ("extract.tokens=letters", "extract.tokens: received 'letters', allowed: characters, subwords, words"),
        ("extract.length=0", "extract.length: received 0, allowed: "),
        ("extract.storage=int4", "extract.storage: received 'int4', allowed: auto, float16, float32, uint8"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(mail, hvdedge, change, line):
    done = run(hvdedge, mail, "--to", "extract", "--set", change)
    assert done.status == 2
    assert line in done.err
    assert len(done.err.splitlines()) == 1
