"""The cases whose data comes along, in small, end to end on two ranks."""

import pathlib

import pytest

CASES = pathlib.Path(__file__).parents[2] / "jobs"
FEW = ("--set", "train.epochs=2", "--to", "evaluate", "--ranks", 2, "--run", "a")


@pytest.mark.parametrize(("case", "score", "least"), [("breast_cancer", "auc", 0.7), ("clusters", "nmi", 0.3)])
def test_a_case_runs(case, score, least, tmp_path, hvdedge, record):
    done = hvdedge("run", CASES / f"{case}.toml", "--results", tmp_path, *FEW)
    assert done.status == 0, done.err
    assert record(tmp_path / case / "a", "evaluate")["metrics"][score] > least


def test_anomalies_of_a_file_are_found(tmp_path, hvdedge, record):
    rows = [
        f"2024-01-{1 + hour // 24:02d} {hour % 24:02d}:00:00,{hour % 24},{100 - 2 * (hour % 24)}" for hour in range(700)
    ]
    (tmp_path / "load.csv").write_text("\n".join(["date,a,b", *rows]) + "\n")
    text = (CASES / "anomaly.toml").read_text()
    lines = [line for line in text.splitlines() if not line.startswith(("sha256", "origin"))]
    text = "\n".join(lines).replace("ett/ETTh1.csv", "load.csv")
    (tmp_path / "load.toml").write_text(
        text.replace('"HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT"', '"a", "b"')
    )
    done = hvdedge("run", tmp_path / "load.toml", "--results", tmp_path, *FEW)
    assert done.status == 0, done.err
    metrics = record(tmp_path / "anomaly/a", "evaluate")["metrics"]
    assert 0 < metrics["anomalies"] < 0.5 and metrics["auc"] > 0.5
    assert {*metrics["baselines"]} == {"z_score"}
