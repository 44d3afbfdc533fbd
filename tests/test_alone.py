"""One rank without MPI does what one rank of MPI does."""

import subprocess
import sys

import numpy as np
import pytest
from mpi4py import MPI

from hvdedge import alone, parallel


def both(call):
    """Return what `call(comm)` gives with mpi4py's communicator of one rank, and with ours."""
    return call(MPI.COMM_SELF.Dup()), call(alone.comm())


def received(name, send, shape, dtype, **more):
    """Return a call that sends by the method `name` and returns what arrives."""

    def call(comm):
        into = np.full(shape, 9, dtype)
        getattr(comm, name)(send, into, **more)
        return into

    return call


@pytest.mark.parametrize("name", ["Allreduce", "Allgather", "Alltoall"])
@pytest.mark.parametrize("shape", [(), (3,), (0,), (2, 3)])
@pytest.mark.parametrize("dtype", ["int64", "float64", "uint8"])
def test_a_collective_of_arrays_is_a_copy(name, shape, dtype):
    send = np.arange(np.prod(shape, dtype=int), dtype=dtype).reshape(shape)
    theirs, ours = both(received(name, send, shape, dtype))
    assert np.array_equal(theirs, ours) and np.array_equal(ours, send)


@pytest.mark.parametrize("operation", [MPI.SUM, MPI.MIN, MPI.MAX, MPI.LOR])
def test_a_reduction_in_place_leaves_what_is_there(operation):
    def call(comm):
        values = np.array([1, 0, 1], bool if operation is MPI.LOR else np.int64)
        comm.Allreduce(MPI.IN_PLACE, values, op=operation)
        return values.tolist()

    theirs, ours = both(call)
    assert theirs == ours == [1, 0, 1]
    values = np.array(5)
    alone.comm().Allreduce(alone.InPlace(-1), values)
    assert values == 5


def test_a_reduce_scatter_is_a_copy():
    theirs, ours = both(received("Reduce_scatter", np.arange(4.0), 4, "float64", recvcounts=[4], op=MPI.SUM))
    assert theirs.tolist() == ours.tolist() == [0, 1, 2, 3]


def test_buffers_with_counts_are_copied_as_far_as_these_say():
    def call(comm):
        gathered, exchanged = np.full(5, 9), np.full(5, 9, np.uint8)
        comm.Allgatherv(np.arange(3), [gathered, np.array([3])])
        comm.Alltoallv([np.arange(5, dtype=np.uint8), np.array([2])], [exchanged, np.array([2])])
        return gathered.tolist(), exchanged.tolist()

    theirs, ours = both(call)
    assert theirs == ours == ([0, 1, 2, 9, 9], [0, 1, 9, 9, 9])


def test_our_own_collectives_give_the_same():
    def call(comm):
        rows = np.arange(12.0).reshape(6, 2)
        with parallel.agree(comm):
            pass
        comm.Barrier()
        return [
            parallel.bcast_json({"a": [1, None]}, comm),
            parallel.allgather_json(["é"], comm),
            parallel.allgather_bytes(b"", comm),
            parallel.counts(np.array([4, 5]), comm).tolist(),
            parallel.allgather_rows(rows, comm).tolist(),
            parallel.exchange([b"abc"], comm),
            parallel.send_rows(rows, np.zeros(6, np.int64), comm).tolist(),
            parallel.fetch_rows(rows, np.array([5, 0, 0]), comm).tolist(),
            parallel.frequencies(np.array([7, 7, 8], np.uint64), comm)[0].tolist(),
            [comm.rank, comm.size, comm.Split(0).size, comm.Split_type(MPI.COMM_TYPE_SHARED).size],
        ]

    theirs, ours = both(call)
    assert theirs == ours


def test_an_error_is_told_as_with_mpi():
    def call(comm):
        with pytest.raises(parallel.RankError) as caught, parallel.agree(comm):
            raise parallel.RankError(0, "", "lost", True)
        return str(caught.value), caught.value.rank, caught.value.is_input

    theirs, ours = both(call)
    assert theirs == ours


def test_every_module_that_reads_rows_can_be_loaded_without_mpi():
    code = """
import importlib, pathlib, sys
from hvdedge import alone
alone.install()
for path in sorted(pathlib.Path(alone.__file__).parent.glob("datasets/[a-z]*.py")):
    importlib.import_module(f"hvdedge.datasets.{path.stem}")
for name in ("assembly", "encodings", "images", "tokens", "projections", "imputation", "sequences"):
    importlib.import_module(f"hvdedge.{name}")
print(sys.modules["mpi4py"].__doc__ == alone.__doc__, "mpi4py.run" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["True", "False"], done.stderr


def test_mpi_that_is_loaded_stays():
    before = sys.modules["mpi4py"]
    alone.install()
    assert sys.modules["mpi4py"] is before
