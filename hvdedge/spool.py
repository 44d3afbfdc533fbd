"""Record batches in the order in which they came: in memory while they are small, in a scratch file when not."""

import os
import pathlib
import tempfile
from collections.abc import Iterator

import pyarrow as pa

from hvdedge.errors import InputError


class Spool:
    """A list of record batches that holds no more than `limit_bytes` in memory; it may be read as often as needed.

    Args:
        scratch: the folder for its file, made once the limit is passed; who owns the folder takes it away.
    """

    def __init__(self, schema: pa.Schema, scratch: pathlib.Path, limit_bytes: int):
        self.schema = schema
        self.num_rows = 0
        self._scratch = scratch
        self._limit_bytes = limit_bytes
        self._held: list[pa.RecordBatch] = []
        self._held_bytes = 0
        self._path: pathlib.Path | None = None

    def append(self, batch: pa.RecordBatch) -> None:
        """Take in a batch."""
        self._held.append(batch)
        self._held_bytes += batch.nbytes
        self.num_rows += batch.num_rows
        if self._held_bytes > self._limit_bytes:
            self.spill()

    @property
    def held_bytes(self) -> int:
        """What is held in memory now."""
        return self._held_bytes

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self.select(self.schema.names)

    def select(self, names: list[str]) -> Iterator[pa.RecordBatch]:
        """Yield the columns `names` of the batches, in that order, without unpacking the others."""
        if self._path is not None:
            fields = sorted(self.schema.get_field_index(name) for name in names)
            options = pa.ipc.IpcReadOptions(included_fields=fields)
            with open(self._path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                while file.tell() < size:
                    yield from (batch.select(names) for batch in pa.ipc.open_stream(file, options=options))
        yield from (batch.select(names) for batch in self._held)

    def __len__(self) -> int:
        return self.num_rows

    def clear(self) -> None:
        """Forget all rows."""
        if self._path is not None:
            self._path.unlink()
        self._held, self._held_bytes, self._path, self.num_rows = [], 0, None, 0

    def spill(self) -> None:
        """Move what is held to the end of the file, as one more Arrow stream.

        Raises:
            InputError: where the disk is full.
        """
        if not self._held:
            return
        try:
            self._append_to_file()
        except OSError as error:
            raise no_room(self._scratch, error) from None
        self._held, self._held_bytes = [], 0

    def _append_to_file(self) -> None:
        if self._path is None:
            handle, name = tempfile.mkstemp(suffix=".arrow", dir=self._scratch)
            os.close(handle)
            self._path = pathlib.Path(name)
        options = pa.ipc.IpcWriteOptions(compression="lz4")  # as quick as the disk, where zstd takes half of the time
        with open(self._path, "ab") as file, pa.ipc.new_stream(file, self.schema, options=options) as writer:
            for batch in self._held:
                writer.write_batch(batch)


def no_room(scratch: pathlib.Path, error: OSError) -> InputError:
    """Return the error of a disk that is full, or cannot be written."""
    return InputError(
        f"{scratch}: received a disk on which scratch files cannot be written ({error.strerror}), "
        "allowed: one with about twice the raw files' size free; make room or name another folder by TMPDIR"
    )
