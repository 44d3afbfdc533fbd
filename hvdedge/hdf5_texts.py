"""How long the texts of an HDF5 dataset are, told without reading them.

    dataset    a descriptor a text: its length (4 bytes, the lowest first) | where its heap lies | its number in there
    heap       the texts themselves, of which any number of descriptors may name one

A file of a megabyte can so hold a million texts of a megabyte each. Descriptors of a chunk are unpacked by HDF5
itself: as those of a dataset of plain bytes, in memory.

Source: The HDF Group, HDF5 File Format Specification Version 3.0, III.E (global heap) and IV.A.2.d (variable length).
"""

import os
import pathlib

import h5py
import numpy as np

SIZE_BYTES, NUMBER_BYTES = 4, 4


class TextLengths:
    """The lengths of the texts of a dataset of one dimension.

    Args:
        path: of the file.
    """

    def __init__(self, path: pathlib.Path, dataset: h5py.Dataset):
        self._path, self._dataset = path, dataset
        address_bytes = dataset.file.id.get_create_plist().get_sizes()[0]
        self._each = SIZE_BYTES + address_bytes + NUMBER_BYTES
        self._number, self._lengths = -1, np.zeros(0, np.int64)  # of the chunk that was unpacked last
        self._plain: dict[int, h5py.Dataset] = {}

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return how many bytes each of some texts has: int64 (stop - start,).

        Where it cannot be told, as of texts in a dataset's header, each is taken for as long as the file.

        Raises:
            OSError, ValueError, RuntimeError: where the file is damaged.
        """
        if self._dataset.chunks:
            return self._of_chunks(start, stop, self._dataset.chunks[0])
        if not self._dataset.id.get_storage_size():
            return np.full(stop - start, _bytes(self._dataset.fillvalue), np.int64)
        place = self._dataset.id.get_offset()
        if place is None:
            return np.full(stop - start, os.stat(self._path).st_size, np.int64)
        with open(self._path, "rb") as file:
            file.seek(place + start * self._each)
            stored = file.read((stop - start) * self._each)
        return self._told(np.frombuffer(stored, np.uint8), stop - start)

    def _of_chunks(self, start: int, stop: int, rows: int) -> np.ndarray:
        parts = []
        for number in range(start // rows, (stop - 1) // rows + 1):
            if number != self._number:
                self._number, self._lengths = number, self._of_chunk(number, rows)
            first = number * rows
            parts.append(self._lengths[max(start - first, 0) : stop - first])
        return np.concatenate(parts)

    def _of_chunk(self, number: int, rows: int) -> np.ndarray:
        place = (number * rows,)
        if self._dataset.id.get_chunk_info_by_coord(place).byte_offset is None:
            return np.full(rows, _bytes(self._dataset.fillvalue), np.int64)
        mask, stored = self._dataset.id.read_direct_chunk(place)
        if mask not in self._plain:
            self._plain[mask] = self._as_plain(rows, mask)
        self._plain[mask].id.write_direct_chunk((0,), stored)
        return self._told(self._plain[mask][:], rows)

    def _as_plain(self, rows: int, mask: int) -> h5py.Dataset:
        """Return a dataset in memory of one chunk, packed by the same filters, whose values are the descriptors.

        Args:
            mask: a bit for each filter that was not used, as HDF5 cannot shuffle texts.
        """
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk((rows,))
        packed = self._dataset.id.get_create_plist()
        for number in range(packed.get_nfilters()):
            code, flags, values, _ = packed.get_filter(number)
            if not mask >> number & 1:
                plan.set_filter(code, flags, values)
        file = h5py.File("descriptors", "w", driver="core", backing_store=False)
        type_ = h5py.h5t.py_create(np.dtype(f"V{self._each}"))
        return h5py.Dataset(h5py.h5d.create(file.id, b"descriptors", type_, h5py.h5s.create_simple((rows,)), plan))

    def _told(self, stored: np.ndarray, rows: int) -> np.ndarray:
        """Return the lengths in some descriptors."""
        descriptors = stored.view(np.uint8).reshape(rows, self._each)
        return np.ascontiguousarray(descriptors[:, :SIZE_BYTES]).view("<u4")[:, 0].astype(np.int64)


def _bytes(text: bytes | str) -> int:
    return len(text if isinstance(text, bytes) else text.encode())
