"""Duplicates of programs/persons.py by splink: a model as its users' guide has it, judged at several thresholds.

Prints one line: the best F1 with its threshold, that at 0.9, seconds to the first clustering, memory.
"""

import json
import resource
import sys
import time

import pandas as pd
import splink.comparison_library as cl
from splink import DuckDBAPI, Linker, SettingsCreator, block_on

RULES = [
    ("given_name", "surname"), ("surname", "date_of_birth"), ("given_name", "date_of_birth"), ("phone",),
    ("street", "postcode"), ("surname", "postcode"), ("given_name", "postcode"), ("date_of_birth", "postcode"),
    ("surname", "street"), ("surname", "suburb"), ("given_name", "street"), ("date_of_birth", "suburb"),
    ("date_of_birth", "street"),
]  # fmt: skip


def main() -> None:
    """Match, judge, print."""
    rows, truth = (pd.read_csv(path, dtype=str) for path in sys.argv[1:3])
    rows = rows.rename(columns={"rid": "unique_id"})
    truth.columns = ["unique_id", "person"]
    began = time.perf_counter()
    linker = Linker(rows, _settings(), DuckDBAPI())
    sure = [block_on("given_name", "surname", "date_of_birth"), block_on("phone")]
    linker.training.estimate_probability_two_random_records_match(sure, recall=0.7)
    linker.training.estimate_u_using_random_sampling(max_pairs=2e6, seed=1)
    linker.training.estimate_parameters_using_expectation_maximisation(block_on("given_name", "surname"))
    linker.training.estimate_parameters_using_expectation_maximisation(block_on("date_of_birth"))
    pairs = linker.inference.predict(threshold_match_probability=0.01)
    scores, seconds = {}, 0.0
    for threshold in (0.9, 0.5, 0.99, 0.999):
        found = linker.clustering.cluster_pairwise_predictions_at_threshold(
            pairs, threshold_match_probability=threshold
        )
        found = found.as_pandas_dataframe()
        seconds = seconds or time.perf_counter() - began
        both = found[["unique_id", "cluster_id"]].merge(truth)
        scores[threshold] = _f1(both)
    best = max(scores, key=scores.__getitem__)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    line = {"f1": scores[best], "threshold": best, "f1_at_0.9": scores[0.9]}
    print(json.dumps(line | {"seconds": round(seconds, 2), "mb": round(memory)}))


def _settings() -> SettingsCreator:
    comparisons = [
        cl.NameComparison("given_name").configure(term_frequency_adjustments=True),
        cl.NameComparison("surname").configure(term_frequency_adjustments=True),
        cl.LevenshteinAtThresholds("date_of_birth", [1, 2]),
        cl.LevenshteinAtThresholds("street_number", [1]),
        cl.JaroWinklerAtThresholds("street", [0.9, 0.7]).configure(term_frequency_adjustments=True),
        cl.JaroWinklerAtThresholds("suburb", [0.9, 0.7]).configure(term_frequency_adjustments=True),
        cl.LevenshteinAtThresholds("postcode", [1, 2]).configure(term_frequency_adjustments=True),
        cl.ExactMatch("state"),
        cl.LevenshteinAtThresholds("phone", [1, 2]),
    ]
    rules = [block_on(*rule) for rule in RULES]
    return SettingsCreator(
        link_type="dedupe_only", comparisons=comparisons, blocking_rules_to_generate_predictions=rules
    )


def _f1(both: pd.DataFrame) -> float:
    def pairs(*names: str) -> int:
        sizes = both.groupby([*names]).size()
        return int((sizes * (sizes - 1) // 2).sum())

    return round(2 * pairs("cluster_id", "person") / (pairs("cluster_id") + pairs("person")), 4)


if __name__ == "__main__":
    main()
