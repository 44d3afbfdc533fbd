"""Duplicates are found alike on 1, 2, 3 and 4 ranks, bit for bit, and every rank gets its share of the pairs."""

import json

import digit_rows
import pytest

FIND = """
    import hashlib, json, pathlib, sys, tempfile
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    from mpi4py import MPI

    sys.path.insert(0, "bench/programs")
    import digit_rows
    import persons
    from hvdedge.cleaning import duplicates
    from hvdedge.errors import InputError
    from hvdedge.parallel import MeteredComm, block
    from hvdedge.tables import Table, gather_table
    from hvdedge.workspace import CHANGES, Workspace

    comm = MeteredComm(MPI.COMM_WORLD)
    scratch = pathlib.Path(tempfile.mkdtemp())

    def find(rows, memory=64_000_000, **options):
        workspace = Workspace(scratch, scratch, memory)
        mine = block(len(rows), comm.size, comm.rank)
        if comm.size == 3:  # the middle rank of three has no rows
            half = len(rows) // 3
            mine = [slice(0, half), slice(half, half), slice(half, len(rows))][comm.rank]
        batches = rows.slice(mine.start, mine.stop - mine.start).combine_chunks().to_batches(max_chunksize=300)
        table = duplicates.clean(Table.from_batches(rows.schema, batches, workspace), comm, **options)
        text = pa.schema([field.with_type(pa.string()) for field in table.schema])
        whole = gather_table(table.to_arrow().cast(text), comm)
        log = gather_table(pa.Table.from_batches(workspace.changes, CHANGES), comm)
        metrics = workspace.metrics["duplicates"]
        assert sum(metrics["pairs_by_rank"]) == metrics["candidates"]
        return {
            "cells": hashlib.sha256(str(whole.to_pydict()).encode()).hexdigest(),
            "log": hashlib.sha256("".join(sorted(map(str, log.to_pylist()))).encode()).hexdigest(),
            "pairs_by_rank": metrics.pop("pairs_by_rank"),
            "metrics": metrics,
            "events": workspace.events,
        }

    def people(count, seed):
        found = [(rid, str(person), *fields) for rid, person, fields in persons.rows(count, seed)]
        columns = dict(zip(["rid", "person", *persons.HEADER[1:]], map(list, zip(*found)), strict=True))
        rows = pa.table({name: [cell or None for cell in cells] for name, cells in columns.items()})
        rows = rows.append_column("_file", pa.array([f"part{number % 2}" for number in range(count)]))
        return rows.append_column("_line", pa.array(np.arange(count)))
"""
SAME = """
    truth = pathlib.Path(sys.argv[1])
    rows = people(1500, 3)
    text = rows["person"].to_pylist()
    truth_of = truth / f"persons{comm.rank}.csv"
    truth_of.write_text("rid,cluster\\n" + "".join(f"{a},{b}\\n" for a, b in zip(rows["rid"].to_pylist(), text)))
    rows = rows.drop(["person"])
    with tempfile.TemporaryDirectory() as folder:
        images = digit_rows.make(pathlib.Path(folder), originals=400, copies=40)
    for name in digit_rows.PIXELS:  # as the errors' cleaner would leave them
        cells = images[name].combine_chunks()
        kept = pc.and_(pc.greater_equal(cells, 0), pc.less_equal(cells, 16))
        images = images.set_column(images.column_names.index(name), name, pc.if_else(kept, cells, None))
    draw = np.random.default_rng(0)
    words = [f"word{n}" for n in range(400)]
    texts = [" ".join(draw.choice(words, 9)) for _ in range(200)]
    offers = pa.table({
        "title": [*texts, *(" ".join(np.array(text.split())[draw.permutation(9)[:7]]) for text in texts)],
        "_file": ["a"] * 200 + ["b"] * 200,
        "_line": np.arange(400),
    })
    found = [
        find(rows, id="rid", truth=str(truth_of)),
        find(rows, id="rid", link=True, max_candidates=4000),
        find(rows.slice(0, 2), id="rid"),
        find(rows.slice(0, 0), id="rid"),
        find(rows.slice(0, 300), 100_000, id="rid", threshold=0.8, keep="frequent"),
        find(images, id="scan", truth=str(truth / "duplicates.csv")),
        find(offers, link=True),
        find(rows.slice(0, 60), id="state"),
    ]
    try:
        find(rows.filter(pc.equal(rows["_file"], "part1")), link=True)
    except InputError as error:  # on every rank, or the next collective hangs
        comm.Barrier()
        found[-1]["refused"] = str(error)
    for each in found:
        del each["pairs_by_rank"]
    if comm.rank == 0:
        print(json.dumps(found))
"""


def test_persons_images_and_texts_are_matched_alike_on_any_number_of_ranks(mpirun, tmp_path):
    digit_rows.make(tmp_path, originals=400, copies=40)
    first, *others = [json.loads(mpirun(ranks, FIND + SAME, tmp_path)) for ranks in (1, 2, 3, 4)]
    persons, narrowed, two, none, by_threshold, images, offers, _ = (found["metrics"] for found in first)
    assert persons["f1"] > 0.94
    assert narrowed["candidates"] <= 4000
    assert (two["rows_merged"], none["rows_merged"]) == (0, 0)
    assert by_threshold["rows_merged"] > 20
    assert images["f1"] > 0.98
    assert (offers["one_to_one"], offers["rows_merged"] > 150) == (1, True)
    assert [event["what"] for event in first[-1]["events"]][0] == "id_names_no_record"
    assert "link: received true with rows of one file only" in first[-1]["refused"]
    assert others == [first] * 3


SKEWED = """
    import numpy as np
    draw = np.random.default_rng(1)
    count = 6000
    towns = draw.zipf(1.3, count) % 5000  # a quarter of all in the greatest block
    rows = pa.table({
        "town": [f"town {number}" for number in towns],
        "kind": [f"kind {number}" for number in draw.integers(0, 40, count)],
        "note": [f"{number:06d}" for number in draw.integers(0, 10**6, count)],
        "_file": ["a"] * count,
        "_line": np.arange(count),
    })
    found = find(rows, passes=("columns", "sorted"))
    if comm.rank == 0:
        print(json.dumps(found["pairs_by_rank"]))
"""


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_skewed_keys_are_dealt_evenly(ranks, mpirun):
    pairs = json.loads(mpirun(ranks, FIND + SKEWED))
    assert len(pairs) == ranks
    assert sum(pairs) > 50_000
    assert max(pairs) <= 1.05 * sum(pairs) / ranks


DEALT = """
    from hvdedge import blocking
    draw = np.random.default_rng(comm.rank)
    count = [700, 0, 1500, 40][comm.rank]
    entries = np.zeros(count, blocking.ENTRY)
    entries["key"], entries["row"] = draw.zipf(1.5, count) % 50, np.arange(count) + 10_000 * comm.rank
    ordered = blocking._sort(entries, comm)
    followers = blocking._followers(ordered["key"], comm)
    wanted = np.array([1.0, 3.0, 1.0, 1.0])[: comm.size]
    mine, pairs = blocking._deal(ordered, np.minimum(followers, 30), wanted, comm)
    made = [[int(mine["row"][i]), int(mine["row"][i + 1 + j])] for i in range(len(pairs)) for j in range(pairs[i])]
    everyone = comm.allgather((entries.tolist(), made))
    if comm.rank == 0:
        print(json.dumps(everyone))
"""


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_faster_ranks_get_more_pairs_and_each_pair_is_made_once(ranks, mpirun):
    everyone = json.loads(mpirun(ranks, FIND + DEALT))
    entries = sorted(tuple(entry) for part, _ in everyone for entry in part)
    expected = {(a[2], b[2]) for i, a in enumerate(entries) for b in entries[i + 1 : i + 31] if a[0] == b[0]}
    made = [tuple(pair) for _, part in everyone for pair in part]
    assert len(made) == len(set(made))
    assert set(made) == expected
    if ranks == 4:
        assert len(everyone[1][1]) == pytest.approx(len(made) / 2, abs=31)
