"""Runs of digits_until.py, and what each told."""

import json

from ranks import told

from hvdedge.clusters import Cluster


def run(strategy: str, options: dict, *words: str, ranks: int, cluster: Cluster, hosts=None) -> dict:
    """Return what a training told; end the benchmark where it failed.

    Args:
        words: more of the program's arguments.
        hosts: EmulatedHosts that the cluster is of; None: this machine's own.
    """
    return told("digits_until.py", [strategy, json.dumps(options), *words], ranks=ranks, cluster=cluster, hosts=hosts)[
        -1
    ]
