"""Reading on 1 to 4 ranks, and on more ranks than files: one table, one record, one set of log entries."""

import gzip
import json

import pytest

PROGRAM = """
import hashlib, json, pathlib, sys, tempfile
import pyarrow as pa
from mpi4py import MPI
from hvdedge.datasets import csv, digits
from hvdedge.errors import InputError, RankError
from hvdedge.parallel import MeteredComm, allgather_json
from hvdedge.tables import gather_table
from hvdedge.workspace import CHANGES, QUARANTINE, Source, Workspace
comm = MeteredComm(MPI.COMM_WORLD)
folder = pathlib.Path(sys.argv[1])
work = Workspace(folder, pathlib.Path(tempfile.mkdtemp(dir=folder)), int(sys.argv[2]))
source = Source(tuple(map(pathlib.Path, sys.argv[3:])), work)
try:
    table = csv.read(source, comm) if source.paths else digits.read(source, comm, seed=5)
except InputError as error:
    print(json.dumps(["error", str(error), True]))
    sys.exit()
assert len(set(map(json.dumps, allgather_json([work.metrics, work.events], comm)))) == 1
everything = gather_table(table.to_arrow(), comm).combine_chunks()
def log(batches, schema):
    rows = gather_table(pa.Table.from_batches(batches, schema), comm).to_pylist()
    return sorted(map(json.dumps, rows))
logs = log(work.changes, CHANGES), log(work.quarantine, QUARANTINE)
digest = hashlib.sha256(repr(everything.to_pydict()).encode()).hexdigest()
print(json.dumps([digest, everything.num_rows, str(everything.schema), work.metrics, logs, work.events]))
"""


def results(mpirun, ranks, folder, memory, *paths):
    """Return what each rank printed, which has to be the same."""
    folder.mkdir(exist_ok=True)
    lines = mpirun(ranks, PROGRAM, folder, memory, *paths).splitlines()
    assert len(lines) == ranks and len(set(lines)) == 1
    return json.loads(lines[0])


def test_the_digits_are_the_same_on_any_number_of_ranks(mpirun, tmp_path):
    one = results(mpirun, 1, tmp_path / "1", 64_000_000)
    assert one[1] > 1900
    for ranks in (2, 8):  # the main job's tests have the others
        assert results(mpirun, ranks, tmp_path / str(ranks), 64_000_000) == one


@pytest.fixture
def files(tmp_path):
    """Files of different sizes, dialects and kinds of trouble; what one leaves open, another settles."""
    contents = [
        "".join(f"{n},{n / 4},word{n % 3},0{n % 9 + 1}/04/2024\n" for n in range(300)).encode(),
        ("id;x;word;day\n" + "".join(f"{n};{n},25;Wört;04/{n % 28 + 1}/2024\n" for n in range(3000))).encode("cp1252"),
        b"id,x,word,day\n",
        "# a note\nid\tx\tword\tday\textra\n1\t1.234\tNA\t-\ty\n2\t?\n3\t1\ta\tb\tc\td\n".encode("utf-16"),
        b'word,id\n"line\nend",7\nz,8 kg\n',
    ]
    paths = [tmp_path / f"part_{number}.csv" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return paths


@pytest.mark.parametrize("memory", [64_000_000, 1_000_000])
def test_files_of_all_kinds_are_the_same_on_any_number_of_ranks(mpirun, tmp_path, files, memory):
    one = results(mpirun, 1, tmp_path / "1", memory, *files)
    assert one[1] == 300 + 3000 + 2 + 2 and len(one[4][1]) == 2  # a note above the header, a row too long
    for ranks in (2, 3, 4, 7):
        assert results(mpirun, ranks, tmp_path / str(ranks), memory, *files) == one


def test_columns_are_joined_by_name_and_content_on_any_number_of_ranks(mpirun, tmp_path):
    heads = ["id,email,day,text", "ID;E-Mail;Datum;Text", "unit,why"]
    rows = [f"{n},p{n}@web.de,2024-01-{n % 28 + 1:02d},{'long ' * (n % 70)}" for n in range(30_000)]
    paths = [tmp_path / f"{number}.csv" for number in range(3)]
    paths[0].write_text("\n".join([heads[0], *rows]))
    paths[1].write_text("\n".join([heads[1], *rows[:4000]]).replace(",", ";"))
    paths[2].write_text("\n".join([heads[2], *["kg,so", "m,so"] * 9]))
    one = results(mpirun, 1, tmp_path / "1", 64_000_000, *paths, paths[0])
    assert [event["what"] for event in one[5]] == [
        "file_read_once",
        *["columns_joined"] * 2,
        "no_column_in_common",
    ]
    assert [event["columns"] for event in one[5][1:3]] == ["id = ID, email = E-Mail, text = Text", "day = Datum"]
    for ranks in (2, 4):
        assert results(mpirun, ranks, tmp_path / str(ranks), 64_000_000, *paths, paths[0]) == one


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_a_bad_file_alone_is_the_same_error_on_every_rank(mpirun, tmp_path, ranks):
    for content in (b"", b"\x00\x01\x02\x03" * 999):
        (tmp_path / "bad.csv").write_bytes(content)
        _, cause, _ = results(mpirun, ranks, tmp_path / "run", 64_000_000, tmp_path / "bad.csv")
        assert cause.startswith(f"{tmp_path / 'bad.csv'}: received ")


def test_of_bad_files_among_good_ones_each_is_told(mpirun, tmp_path, files):
    bad = [tmp_path / "bad_1.csv", tmp_path / "bad_2.csv"]
    bad[1].write_bytes(b"")
    paths = [files[0], bad[0], files[1], bad[1]]
    one, *others = [results(mpirun, ranks, tmp_path / "run", 64_000_000, *paths) for ranks in (1, 2, 4)]
    assert one[1] == 3300 and all(other == one for other in others)
    assert [found["file"] for found in one[3]["files"] if "error" in found] == ["bad_1.csv", "bad_2.csv"]


@pytest.mark.parametrize("packed", [False, True])
def test_one_large_file_is_read_by_all_ranks_whatever_its_cells_hold(mpirun, tmp_path, packed):
    rows = []
    for n in range(60_000):
        text = f'"{n} ""x"", and\nmore, {"y" * (n % 50)}"' if n % 3 == 0 else f"word {n}"
        rows.append(f"{n},{text},{n % 7},{2000 + n % 20}-01-{n % 28 + 1:02d}\n")
    rows[30_000] = '30000,"no end,1,2001-01-01\n'
    rows[45_000] = "45000,too,many,cells,here,1\n"
    data = ("n,text,k,day\n" + "".join(rows)).encode()
    path = tmp_path / "large.csv"
    path.write_bytes(gzip.compress(data, 1) if packed else data)
    one = results(mpirun, 1, tmp_path / "1", 64_000_000, path)
    assert one[1] >= 59_998 and one[3]["columns"]["n"]["type"] == "integer"
    for ranks in (2, 3, 4):
        assert results(mpirun, ranks, tmp_path / str(ranks), 64_000_000, path) == one
