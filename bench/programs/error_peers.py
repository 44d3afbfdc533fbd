"""What others do: a majority vote under constraints (pandas), and cleanlab's search for wrong labels.

    python error_peers.py majority hospital.csv hospital_constraints.txt hospital_clean.csv
    python error_peers.py cleanlab digits.csv wrong.csv

Prints JSON: precision, recall, f1, seconds.
"""

import json
import re
import sys
import time

import pandas as pd


def main(task: str, *paths: str) -> None:
    """Run one of them."""
    started = time.perf_counter()
    found = {"majority": majority, "cleanlab": cleanlab}[task](*paths)
    print(json.dumps(found | {"seconds": round(time.perf_counter() - started, 2)}))


def majority(table: str, constraints: str, truth: str) -> dict[str, float]:
    """Give every cell that a constraint speaks of what most rows with the same determinant hold, all counted alike."""
    dirty = pd.read_csv(table, dtype=str, keep_default_na=False)
    cells = pd.read_csv(truth, dtype=str, keep_default_na=False)
    clean = cells.assign(tid=cells["tid"].astype(int)).pivot(index="tid", columns="attribute", values="correct_val")
    clean = clean[dirty.columns].reset_index(drop=True)
    votes: dict[str, list[pd.DataFrame]] = {}
    with open(constraints, encoding="utf-8") as file:
        for line in filter(None, map(str.strip, file)):
            same = re.findall(r"EQ\(t1\.(\w+),", line)
            other = re.findall(r"IQ\(t1\.(\w+),", line)[0]
            counts = dirty.groupby([*same, other]).size().rename("votes").reset_index()
            rows = dirty[same].reset_index().merge(counts, on=same)
            votes.setdefault(other, []).append(rows[["index", other, "votes"]].rename(columns={other: "value"}))
    repaired = dirty.copy()
    for name, parts in votes.items():
        total = pd.concat(parts).groupby(["index", "value"], as_index=False)["votes"].sum()
        best = total.sort_values(["index", "votes"], ascending=[True, False]).drop_duplicates("index")
        repaired[name] = best.set_index("index")["value"].reindex(dirty.index)
    changed, wrong = repaired != dirty, dirty != clean
    return rates(int((changed & (repaired == clean)).sum().sum()), int(changed.sum().sum()), int(wrong.sum().sum()))


def cleanlab(table: str, truth: str) -> dict[str, float]:
    """Find wrong labels as cleanlab does with its default, a logistic regression."""
    from cleanlab.classification import CleanLearning
    from sklearn.linear_model import LogisticRegression

    rows = pd.read_csv(table)
    wrong = set(pd.read_csv(truth)["id"])
    cells = rows.drop(columns=["id", "label"]).to_numpy() / 16
    issues = CleanLearning(LogisticRegression(max_iter=1000), seed=0).find_label_issues(cells, rows["label"].to_numpy())
    found = set(rows["id"][issues["is_label_issue"].to_numpy()])
    return rates(len(found & wrong), len(found), len(wrong))


def rates(right: int, found: int, true: int) -> dict[str, float]:
    """Return precision, recall and f1."""
    return {"precision": right / found, "recall": right / true, "f1": 2 * right / (found + true)}


if __name__ == "__main__":
    main(*sys.argv[1:])
