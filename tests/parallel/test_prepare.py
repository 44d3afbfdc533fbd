"""Reading on 1 to 4 ranks, and on more ranks than files: one table, one record, one set of log entries."""

import json

import pytest

PROGRAM = """
import hashlib, json, pathlib, sys, tempfile
import pyarrow as pa
from mpi4py import MPI
from hvdedge.datasets import csv, digits
from hvdedge.errors import RankError
from hvdedge.parallel import MeteredComm, allgather_json
from hvdedge.tables import gather_table
from hvdedge.workspace import CHANGES, QUARANTINE, Source, Workspace
comm = MeteredComm(MPI.COMM_WORLD)
folder = pathlib.Path(sys.argv[1])
work = Workspace(folder, pathlib.Path(tempfile.mkdtemp(dir=folder)), int(sys.argv[2]))
source = Source(tuple(map(pathlib.Path, sys.argv[3:])), work)
try:
    table = csv.read(source, comm) if source.paths else digits.read(source, comm, seed=5)
except RankError as error:
    print(json.dumps(["error", error.cause, error.is_input]))
    sys.exit()
assert len(set(map(json.dumps, allgather_json(work.metrics, comm)))) == 1
everything = gather_table(table.to_arrow(), comm).combine_chunks()
def log(batches, schema):
    rows = gather_table(pa.Table.from_batches(batches, schema), comm).to_pylist()
    return sorted(map(json.dumps, rows))
logs = log(work.changes, CHANGES), log(work.quarantine, QUARANTINE)
digest = hashlib.sha256(repr(everything.to_pydict()).encode()).hexdigest()
print(json.dumps([digest, everything.num_rows, str(everything.schema), work.metrics, logs]))
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
    for ranks in (2, 3, 4, 8):
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
    assert one[1] == 300 + 3000 + 2 + 2 and len(one[4][1]) == 1
    for ranks in (2, 3, 4, 7):
        assert results(mpirun, ranks, tmp_path / str(ranks), memory, *files) == one


@pytest.mark.parametrize("content", [None, b"", b"\x00\x01\x02\x03" * 999])
@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_a_bad_file_is_the_same_error_on_every_rank(mpirun, tmp_path, files, ranks, content):
    bad = tmp_path / "bad.csv"
    if content is not None:
        bad.write_bytes(content)
    name, cause, is_input = results(mpirun, ranks, tmp_path / "run", 64_000_000, *files, bad)
    assert name == "error" and is_input and cause.startswith(f"{bad}: received ")


def test_of_several_bad_files_the_first_is_told(mpirun, tmp_path, files):
    bad = [tmp_path / "bad_1.csv", tmp_path / "bad_2.csv"]
    paths = [files[0], bad[0], files[1], bad[1]]
    found = [results(mpirun, ranks, tmp_path / "run", 64_000_000, *paths) for ranks in (1, 2, 4)]
    assert found[0][1].startswith(str(bad[0])) and found == found[:1] * 3
