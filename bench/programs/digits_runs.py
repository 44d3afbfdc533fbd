"""Runs of digits_until.py, and what each told."""

import json

from ranks import told

from hvdedge.clusters import Cluster


def run(
    strategy: str, options: dict, *words: str, ranks: int, cluster: Cluster, hosts=None, can_lose: bool = False
) -> dict:
    """Return what a training told; end the benchmark where it failed.

    Args:
        words: more of the program's arguments.
        hosts: EmulatedHosts that the cluster is of; None: this machine's own.
        can_lose: whether the others go on when a rank is lost.
    """
    words = strategy, json.dumps(options), *words
    return told("digits_until.py", [*words], ranks=ranks, cluster=cluster, hosts=hosts, can_lose=can_lose)[-1]
