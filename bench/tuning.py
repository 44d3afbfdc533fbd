"""What a search costs and finds: trials side by side or on all ranks, ended early or not.

One JSON line a case, layout (2x1: two trials at a time, a rank each; 1x2: one trial at a time, on two ranks) and early
ending, with the seconds of the search, the epochs trained, the trials by state, the best value on the rows for
validation beside that of the pipeline's own options, what the best model reaches on the test rows, and which share of
the search ranks worked on trials. Then, a layout, a line with the ratio of the seconds and of the epochs without early
ending to those with it: the same trials begin in both, as far as what ended early does not change what is drawn next.

    python bench/tuning.py [digits] [adult] [--layouts 2x1 1x2] [--search tpe]
"""

import argparse
import collections
import json
import pathlib
import re
import subprocess
import sys
import tempfile

from hvdedge import records

ROOT = pathlib.Path(__file__).resolve().parent.parent
HVDEDGE = str(pathlib.Path(sys.executable).with_name("hvdedge"))
SPACES = {
    "digits": """
"train.learning_rate" = {low = 1e-4, high = 1e-2, log = true}
"train.batch_size" = [16, 32, 64]
"train.hidden" = [32, 64, 128, 256]
"train.dropout" = {low = 0.0, high = 0.5}
""",
    "adult": """
"train.learning_rate" = {low = 1e-4, high = 1e-2, log = true}
"train.batch_size" = [64, 128, 256]
"train.hidden" = [32, 64, [128, 64], [256, 128]]
""",
}
TRIALS = {"digits": 16, "adult": 10}
EPOCHS = {"digits": 18, "adult": 9}


def main() -> None:
    """Run the searches and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=[*SPACES], choices=[*SPACES, []])
    parser.add_argument("--layouts", nargs="*", default=["2x1", "1x2"])
    parser.add_argument("--search", default="tpe", choices=["tpe", "random"])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for case in arguments.cases:
            for layout in arguments.layouts:
                found = {
                    way: _run(case, layout, way, arguments.search, pathlib.Path(folder)) for way in ("never", "asha")
                }
                for figure in found.values():
                    print(json.dumps(figure), flush=True)
                ratios = {f"{name}_ratio": found["never"][name] / found["asha"][name] for name in ("seconds", "epochs")}
                print(
                    json.dumps({"case": case, "layout": layout, **{k: round(v, 2) for k, v in ratios.items()}}),
                    flush=True,
                )


def _run(case: str, layout: str, early_ending: str, search: str, folder: pathlib.Path) -> dict:
    groups, ranks = map(int, layout.split("x"))
    text = (ROOT / "jobs" / f"{case}.toml").read_text().replace("uncleaned = true", "uncleaned = false")
    text = re.sub(r"(?s)\[compress\..*?(?=\[evaluate)", "", text)
    text += f'\n[tune]\ntrials = {TRIALS[case]}\nranks = {ranks}\nmetric = "accuracy"\nsearch = "{search}"\n'
    text += f'early_ending = "{early_ending}"\n[tune.space]{SPACES[case]}'
    path = folder / f"{case}-{layout}-{early_ending}.toml"
    path.write_text(text)
    words = [str(path), "--ranks", str(groups * ranks), "--results", str(folder), "--run", path.stem]
    changes = ["--set", f"train.epochs={EPOCHS[case]}", "--set", "train.patience=0"]
    for last in ("train", "evaluate"):
        subprocess.run(
            [HVDEDGE, "run", *words, *changes, "--to", last],
            check=True,
            cwd=ROOT,
            stdout=sys.stderr,
            stdin=subprocess.DEVNULL,
        )
    train = records.read(folder / case / path.stem / "train.json")
    told = train.metrics["search"]
    trials = train.metrics["trials"]
    best = trials[told["best"]]
    return {
        **{"case": case, "layout": layout, "search": search, "early_ending": early_ending},
        **{"seconds": round(told["seconds"], 1), "epochs": sum(trial["epochs"] for trial in trials)},
        **collections.Counter(trial["state"] for trial in trials),
        **{"own": round(trials[0]["value"], 4), "own_state": trials[0]["state"]},
        "busy": round(sum(trial["seconds"] for trial in trials) / told["groups"] / told["seconds"], 3),
        **{"best": round(best["value"], 4), "number": best["number"], "options": best["options"]},
        "test": round(records.read(folder / case / path.stem / "evaluate.json").metrics["accuracy"], 4),
        "most_memory_mb": round(max(rank.peak_rss_bytes for rank in train.ranks) / 1e6),
    }


if __name__ == "__main__":
    main()
