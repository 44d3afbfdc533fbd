"""Runs of the digits case as they could be on one, two and four ranks, for the tests of the report.

The figures are made up so that sums can be done in the head: training takes 40, 25 and 16 s.
"""

import pathlib

from hvdedge.records import STAGES, Output, RankRecord, RunRecord

TRAIN_SECONDS = {1: 40.0, 2: 25.0, 4: 16.0}
OTHER_SECONDS = {"prepare": 1.5, "clean": 2.25, "profile": 1.0, "extract": 1.25, "compress": 8.0, "evaluate": 5.0}
"""19 s together."""
ACCURACY = {1: 0.9861, 2: 0.9833, 4: 0.975}
EPOCHS = 12
CONFUSION = [[36 if row == at else 0 for at in range(10)] for row in range(10)]
CONFUSION[8][8], CONFUSION[8][1], CONFUSION[9][9], CONFUSION[9][3] = 31, 4, 35, 1
VERSIONS = {"hvdedge": "0.1.0", "python": "3.11.7", "mpi4py": "4.1.1", "openmpi": "5.0.11", "tensorflow": "2.21.0"}


def digits(run: str, ranks: int, **changes) -> dict[str, RunRecord]:
    """Return stage -> record of a run that went through; `changes` are fields of all its records."""
    return {stage: _record(stage, run, ranks, changes) for stage in STAGES[:-1]}


def write(results: pathlib.Path, records: dict[str, RunRecord]) -> pathlib.Path:
    """Write the records of one run below `results` and return its folder."""
    record = next(iter(records.values()))
    folder = results / record.case / record.run
    folder.mkdir(parents=True, exist_ok=True)
    for record in records.values():
        record.write(folder)
    return folder


def write_digits(results: pathlib.Path) -> list[pathlib.Path]:
    """Write three runs, n1, n2 and n4, and return their folders, oldest first."""
    return [write(results, digits(f"n{ranks}", ranks, started=f"2026-03-0{ranks}T09:30:00Z")) for ranks in (1, 2, 4)]


def searched(run: str = "searched") -> dict[str, RunRecord]:
    """Return the records of a run that searched over settings: two groups of a rank each, 22 s, trial 2 the best."""
    records = digits(run, 2)
    records["train"].metrics |= {"trials": [dict(trial) for trial in TRIALS], "search": dict(SEARCH)}
    return records


def _trial(number: int, state: str, value: float | None, began: float, seconds: float, epochs: int, *tried) -> dict:
    return {
        "number": number,
        "options": dict(zip(("train.learning_rate", "train.batch_size", "train.model"), tried, strict=True)),
        **{"value": value, "state": state, "seconds": seconds, "began_seconds": began, "epochs": epochs},
        **{"ranks": [1 + number % 2], "attempts": 0, "curve": [[1, value]]},
    }


def _record(stage: str, run: str, ranks: int, changes: dict) -> RunRecord:
    seconds = TRAIN_SECONDS[ranks] if stage == "train" else OTHER_SECONDS[stage]
    record = RunRecord(
        stage=stage,
        case="digits",
        run=run,
        status="done",
        cluster="local",
        started="2026-03-01T09:30:00Z",
        wall_seconds=seconds,
        world_size=ranks,
        ranks=[_rank(stage, rank, ranks, seconds) for rank in range(ranks)],
        metrics=METRICS[stage](ranks),
        history=_history(ranks) if stage == "train" else {},
        options=OPTIONS[stage],
        outputs={f"{stage}.out": Output(4096, "0" * 64)},
        versions=VERSIONS,
    )
    if stage == "train" and ranks == 4:
        event = {"seconds": 3.2, "what": "rank_lost", "rank": 1, "action": "shrunk", "took_seconds": 0.2, "left": 3}
        record.events = [event]
    for field, value in changes.items():
        setattr(record, field, value)
    return record


def _rank(stage: str, rank: int, ranks: int, seconds: float) -> RankRecord:
    heavy = stage in ("train", "compress", "evaluate")
    sent = 0 if ranks == 1 else 310_000_000 if stage == "train" else 42_000
    return RankRecord(
        rank=rank,
        host="pi01" if rank < 2 else "pi02",
        wall_seconds=seconds,
        cpu_seconds=seconds * 0.9,
        idle_seconds=seconds * 0.05 * (ranks > 1),
        peak_rss_bytes=(612_000_000 if heavy else 118_000_000) + rank * 1_000_000,
        bytes_sent=sent,
        bytes_received=sent,
        energy_joules=4.0 * seconds,
        energy_source="model",
    )


def _history(ranks: int) -> dict[str, list]:
    falling = [2.1 * (0.55 + 0.05 * ranks) ** epoch + 0.03 + 0.01 * ranks for epoch in range(EPOCHS)]
    return {
        "loss": falling,
        "accuracy": [1 - min(0.7, loss / 3.2) for loss in falling],
        "validation_loss": [0.9 * loss + 0.04 for loss in falling],
        "validation_accuracy": [1 - min(0.66, loss / 3.0) for loss in falling],
        "epoch_seconds": [TRAIN_SECONDS[ranks] / EPOCHS] * EPOCHS,
    }


def _prepare(_: int) -> dict:
    forms = (
        ("site_a.csv", "utf-8", ",", 2, 601, 1),
        ("site_b.csv", "latin-1", ";", 0, 640, 3),
        ("c.csv", "utf-16", "\t", 1, 620, 0),
    )
    return {
        "files": [
            {
                "file": name,
                "encoding": encoding,
                "delimiter": delimiter,
                "quote": '"',
                "escape": None,
                "preamble_rows": preamble,
                "header_rows": 1,
                "rows": rows,
                "rows_quarantined": aside,
            }
            for name, encoding, delimiter, preamble, rows, aside in forms
        ],
        "columns": {
            "scan": {"type": "text", "missing": 0, "changed": 0},
            "label": {"type": "integer", "missing": 0, "changed": 12},
            "p00": {"type": "integer", "missing": 31, "changed": 44, "emptied": 20},
        },
    }


def _clean(_: int) -> dict:
    return {
        "duplicates": {
            "candidates": 5230,
            "pairs": 66,
            "clusters": 60,
            "rows_merged": 64,
            "precision": 1.0,
            "recall": 0.9851,
            "f1": 0.9925,
        },
        "missing": {"filled": {"p00": 31, "p01": 29}},
        "errors": {"changed": 58},
    }


def _train(ranks: int) -> dict:
    return {
        "loss": 0.0412,
        "accuracy": 0.9901,
        "examples_per_second": 1437 * EPOCHS / TRAIN_SECONDS[ranks],
        "step_seconds": 0.0384,
        "bytes_per_step": 4_800_000 if ranks > 1 else 0,
        "idle_share": 0.05 if ranks > 1 else 0.0,
        "steps": 144,
        "parameters": 1_199_882,
    }


def _compress(_: int) -> dict:
    return {
        "models": {
            "pruned": {
                "bytes": 1_320_000,
                "ratio": 3.64,
                "accuracy": 0.9806,
                "weights_left": 0.25,
                **{"latency_seconds": 0.00042, "latency_p95_seconds": 0.0005, "latency_ratio": 1.0},
                "joules_per_thousand": None,
            },
            "int8": {
                "bytes": 1_210_000,
                "ratio": 3.97,
                "accuracy": 0.9833,
                "weights_left": None,
                **{"latency_seconds": 0.00017, "latency_p95_seconds": 0.0002, "latency_ratio": 0.4},
                "joules_per_thousand": 0.9,
            },
        }
    }


def _evaluate(ranks: int) -> dict:
    support = [sum(row) for row in CONFUSION]
    given = [sum(row[at] for row in CONFUSION) for at in range(10)]
    classes = []
    for at in range(10):
        precision, recall = CONFUSION[at][at] / given[at], CONFUSION[at][at] / support[at]
        f1 = 2 * precision * recall / (precision + recall)
        classes.append({"class": str(at), "precision": precision, "recall": recall, "f1": f1, "support": support[at]})
    return {
        "accuracy": ACCURACY[ranks],
        "precision": 0.9841,
        "recall": 0.9832,
        "f1": 0.9835,
        "auc": 0.99942,
        "loss": 0.0613,
        "confusion": CONFUSION,
        "classes": classes,
        "uncleaned": {
            "accuracy": 0.9417,
            "precision": 0.9433,
            "recall": 0.941,
            "f1": 0.9415,
            "auc": 0.9911,
            "loss": 0.242,
        },
        "repairs": {
            "duplicates": {"found": 66, "true": 67, "right": 66, "precision": 1.0, "recall": 0.985, "f1": 0.992},
            "missing_cells": {"found": 60, "true": 62, "right": 41, "precision": 0.683, "recall": 0.661, "f1": 0.672},
            "text_numbers": {"found": 88, "true": 88, "right": 88, "precision": 1.0, "recall": 1.0, "f1": 1.0},
            "ragged_rows": {"found": 4, "true": 5, "right": 4, "precision": 1.0, "recall": 0.8, "f1": 0.889},
        },
    }


METRICS = {
    "prepare": _prepare,
    "clean": _clean,
    "profile": lambda _: {"rows": 1797, "seconds_by_profiler": {"statistics": 0.31}},
    "extract": lambda _: {"rows": {"train": 1437, "validation": 0, "test": 360}, "shape": [8, 8, 1], "left_out": {}},
    "train": _train,
    "compress": _compress,
    "evaluate": _evaluate,
}
OPTIONS = {
    "prepare": {"reader": "digits", "source": ""},
    "clean": {"duplicates": {"id": "scan", "threshold": 0.9}, "missing": {"method": "median"}},
    "profile": {"statistics": {}},
    "extract": {"extractor": "images", "test": 0.2},
    "train": {
        "model": "cnn",
        "strategy": "ring_allreduce",
        "epochs": EPOCHS,
        "batch_size": 128,
        "learning_rate": 0.001,
        "optimizer": "adam",
    },
    "compress": {"prune": {"share": 0.75}, "int8": {}},
    "evaluate": {"uncleaned": True},
}
SEARCH = {
    **{"search": "tpe", "metric": "accuracy", "direction": "maximize", "best": 2},
    **{"seconds": 22.0, "groups": 2, "ranks": 1, "trials": 5},
}
TRIALS = [
    _trial(0, "complete", 0.9, 0.0, 10.0, 6, 0.001, 64, "mlp"),
    _trial(1, "pruned", 0.5, 0.0, 4.0, 2, 0.1, 32, "cnn"),
    _trial(2, "complete", 0.97, 4.0, 12.0, 6, 0.01, 64, "cnn"),
    _trial(3, "failed", None, 16.0, 1.0, 0, 1.0, 32, "mlp") | {"cause": "the loss is\nnot finite"},
    _trial(4, "complete", 0.95, 11.0, 10.0, 6, 0.0005, 64, "mlp"),
]
"""37 s together, 4 s of them pruned."""
