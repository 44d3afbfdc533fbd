"""How a table's rows hang together by the edges in a second file: degrees, components, homophily.

    homophily           h = edges that join equal labels / edges between labelled nodes
    adjusted            1 / (C - 1) sum over the C classes k of max(0, h_k - n_k / n),
                        h_k = ends of edges at nodes of class k whose other end is of class k, too / all these ends

Of the adjusted one, random edges give about 0 whatever the classes' sizes. Everything is counted in whole numbers: the
same bit for bit on any number of ranks.

Source: Lim et al. 2021, Large scale learning on non-homophilous graphs.
"""

from typing import Any

import numpy as np
import pyarrow.compute as pc
from mpi4py import MPI

from hvdedge.columns import kind, plain, shown, value_counts
from hvdedge.errors import InputError
from hvdedge.graphs import Graph, read_graph
from hvdedge.linkage import components
from hvdedge.options import ColumnName, Path
from hvdedge.parallel import allgather_rows, fetch_rows, send_rows
from hvdedge.quantiles import place_of
from hvdedge.tables import Table

WHERE = "profile.graph"
PROBABILITIES = (0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
LARGEST = 10  # components that are listed
MOST_CLASSES = 10_000
ROUND_EDGES = 1 << 18


def profile(
    table: Table,
    comm: MPI.Intracomm,
    *,
    edges: Path = "",
    id: ColumnName = "id",
    label: ColumnName = "",
    directed: bool = False,
) -> dict:
    """Collective. Describe the graph of the rows: edges, degrees, connected components, how alike neighbours are.

    Args:
        table: this rank's nodes, a row each.
        edges: a file with a line of two ids for each edge: delimited text or Parquet.
        id: the column with the nodes' ids.
        label: the column with the classes whose homophily is told; none by default.
        directed: whether an edge leads one way.
    Returns:
        The same on every rank: graph: {nodes, edges, directed, density, isolated, degrees, components, homophily,
        homophily_adjusted} and what `graphs.Graph.told` counts. density is edges / pairs of nodes; isolated nodes have
        no edge; degrees are {min, max, mean, quantiles, histogram: list of {from, to, nodes}, in powers of two},
        where directed those of the edges that leave, and in_degrees alike; components are {count, largest: sizes},
        the direction aside; homophily and the adjusted one are null without label, or without an edge between labels.
    Raises:
        InputError: see `edges.read_edges`; and for a label that is no column of up to `MOST_CLASSES` values.
    """
    classes = _classes(table, label, comm)
    graph = read_graph(table, comm, edges=edges, id=id, directed=directed, where=WHERE)
    out = np.diff(graph.indptr)
    into = _in_degrees(graph, comm) if directed else out
    isolated = np.array(((out == 0) & (into == 0)).sum(), np.int64)
    comm.Allreduce(MPI.IN_PLACE, isolated, op=MPI.SUM)
    pairs = graph.nodes * (graph.nodes - 1) // (1 if directed else 2)
    found: dict[str, Any] = {
        **{"nodes": graph.nodes, **graph.told, "directed": directed},
        "density": graph.told["edges"] / pairs if pairs else None,
        "isolated": int(isolated),
        "degrees": _distribution(out, comm),
        **({"in_degrees": _distribution(into, comm)} if directed else {}),
        "components": _components(graph, comm),
        **_homophily(graph, classes, comm),
    }
    return {"graph": found}


def _classes(table: Table, label: str, comm: MPI.Intracomm) -> np.ndarray | None:
    """Collective. Return the number of the class of each of this rank's rows, -1 for none; None without a label."""
    if not label:
        return None
    if label not in table.columns or kind(table.schema.field(label).type) == "array":
        raise InputError(
            f"{WHERE}.label: received {label!r}, which is no column of classes, allowed: {shown(table.columns)}; "
            "name one"
        )
    counted = value_counts(table, [label], MOST_CLASSES, comm)[label]
    if counted is None:
        raise InputError(
            f"{WHERE}.label: received {label!r} with over {MOST_CLASSES} different labels, allowed: up to "
            f"{MOST_CLASSES}; name another column"
        )
    values = counted["value"].combine_chunks()
    numbers = [
        pc.fill_null(pc.index_in(plain(batch.column(0)), value_set=values), -1)
        for batch in table.select([label]).batches()
    ]
    return np.concatenate([np.empty(0, np.int64), *(np.asarray(part, np.int64) for part in numbers)])


def _in_degrees(graph: Graph, comm: MPI.Intracomm) -> np.ndarray:
    """Collective. Return how many edges lead to each of this rank's nodes."""
    nodes, edges = np.unique(graph.indices, return_counts=True)
    told = np.stack([nodes, edges], axis=1).astype(np.int64)
    arrived = send_rows(told, np.searchsorted(graph.starts, nodes, side="right") - 1, comm)
    degrees = np.zeros(len(graph.indptr) - 1, np.int64)
    np.add.at(degrees, arrived[:, 0] - graph.starts[comm.rank], arrived[:, 1])
    return degrees


def _frequencies(values: np.ndarray, comm: MPI.Intracomm) -> tuple[np.ndarray, np.ndarray]:
    """Collective. Return the different values of all ranks, rising, and how often each is there; for few different."""
    different, often = np.unique(values, return_counts=True)
    every = allgather_rows(np.stack([different, often], axis=1).astype(np.int64), comm)
    different, place = np.unique(every[:, 0], return_inverse=True)
    total = np.zeros(len(different), np.int64)
    np.add.at(total, place, every[:, 1])
    return different, total


def _distribution(degrees: np.ndarray, comm: MPI.Intracomm) -> dict[str, Any]:
    """Collective. Describe the degrees of all nodes; quantiles are those of `quantiles.select`."""
    values, nodes = _frequencies(degrees, comm)
    count = int(nodes.sum())
    upto = np.cumsum(nodes)
    places = {probability: place_of(probability, count) for probability in PROBABILITIES}
    power = np.where(values > 0, np.frexp(values)[1], 0)  # 0; 1; 2, 3; 4 to 7; ...
    bars = np.bincount(power, weights=nodes).astype(np.int64) if count else np.empty(0, np.int64)
    return {
        "min": int(values[0]) if count else None,
        "max": int(values[-1]) if count else None,
        "mean": int(values @ nodes) / count if count else None,
        "quantiles": {
            str(probability): int(values[np.searchsorted(upto, place, side="right")])
            for probability, place in places.items()
            if count
        },
        "histogram": [
            {"from": 2 ** (bar - 1) if bar else 0, "to": 2**bar - 1, "nodes": size}
            for bar, size in enumerate(bars.tolist())
        ],
    }


def _components(graph: Graph, comm: MPI.Intracomm) -> dict[str, Any]:
    """Collective. Return how many connected components there are, and the sizes of the largest."""
    start, here = int(graph.starts[comm.rank]), len(graph.indptr) - 1
    ties = np.stack([graph.sources + start, graph.indices], axis=1)
    if not graph.directed:  # each is there both ways
        ties = ties[ties[:, 0] < ties[:, 1]]
    first = components(ties[:, 0], ties[:, 1], here, comm)
    roots, nodes = np.unique(first, return_counts=True)
    told = np.stack([roots, nodes], axis=1).astype(np.int64)
    arrived = send_rows(told, np.searchsorted(graph.starts, roots, side="right") - 1, comm)
    sizes = np.zeros(here, np.int64)
    np.add.at(sizes, arrived[:, 0] - start, arrived[:, 1])
    sizes = -np.sort(-sizes[sizes > 0])
    count = np.array(len(sizes), np.int64)
    comm.Allreduce(MPI.IN_PLACE, count, op=MPI.SUM)
    largest = -np.sort(-allgather_rows(sizes[:LARGEST], comm))[:LARGEST]
    return {"count": int(count), "largest": largest.tolist()}


def _homophily(graph: Graph, classes: np.ndarray | None, comm: MPI.Intracomm) -> dict[str, float | None]:
    """Collective."""
    unknown: dict[str, float | None] = {"homophily": None, "homophily_adjusted": None}
    if classes is None:
        return unknown
    most = np.array(classes.max(initial=-1) + 1, np.int64)
    comm.Allreduce(MPI.IN_PLACE, most, op=MPI.MAX)
    counted = np.zeros((3, int(most)), np.int64)  # of each class: nodes, ends of edges, those of edges inside it
    counted[0] = np.bincount(classes[classes >= 0], minlength=int(most))
    steps = np.array(-(-len(graph.indices) // ROUND_EDGES), np.int64)
    comm.Allreduce(MPI.IN_PLACE, steps, op=MPI.MAX)
    sources = graph.sources
    for step in range(int(steps)):
        part = slice(step * ROUND_EDGES, (step + 1) * ROUND_EDGES)
        one, other = classes[sources[part]], fetch_rows(classes, graph.indices[part], comm)
        labelled = (one >= 0) & (other >= 0)
        one, other = one[labelled], other[labelled]
        for ends in (one, other) if graph.directed else (one,):  # what is not directed stands at both ends
            counted[1] += np.bincount(ends, minlength=int(most))
            counted[2] += np.bincount(ends[one == other], minlength=int(most))
    comm.Allreduce(MPI.IN_PLACE, counted, op=MPI.SUM)
    nodes, ends, inside = counted
    if not ends.any():
        return unknown
    shares = np.divide(inside, ends, out=np.zeros(len(ends)), where=ends > 0)
    adjusted = float(np.maximum(shares - nodes / nodes.sum(), 0).sum()) / (len(ends) - 1) if len(ends) > 1 else None
    return {"homophily": int(inside.sum()) / int(ends.sum()), "homophily_adjusted": adjusted}
