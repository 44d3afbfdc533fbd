"""Weights of a TensorFlow Lite file in few bits: codebooks, packed codes, differences of places, entropy coding.

    file      = magic | sizes | lengths of the streams | head (JSON) | rest of the file | each coded buffer's streams
    a buffer of up to 256 different numbers, zero aside, or of many zeros:
        values    the codebook: what the codes stand for
        places    of what is not zero, as the zeros before each: a byte, 255 for 255 zeros with nothing behind them
        codes     of what is not zero, or of all where few are, packed into as few bits as there are numbers
    a buffer of numbers that 16 bits hold: those

The buffers are found in the file by its own directory, so that what layers are there, and how the converter turned
their weights, does not matter: unpacked, the file is the same byte for byte, which a checksum in its sizes holds.
Decoding needs no TensorFlow. Nothing that a file claims is made room for before it is held against what there is.

Source: Han, Mao and Dally 2016, Deep compression; the entropy coder is Zstandard's (Collet and Kucherawy 2021, RFC
8878: Huffman codes and finite-state entropy).
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
import numpy as np
import pyarrow as pa

MAGIC = b"hvdedge weights 1\n"
LEAST_BYTES = 256  # of a buffer that is worth a codebook
MOST_VALUES = 256
MANY_ZEROS = 0.3  # share from which places are told
GAP = 255
ZSTD_LEVEL = 19
HALVES = {"float16": np.dtype("<f2"), "bfloat16": np.dtype("<u2")}
BLOCK = 1 << 16  # numbers at once; a multiple of 8, so that each block of codes begins with a byte
FREE_BYTES = 1 << 26  # that a file may unpack to, whatever its size
MOST_RATIO = 1000  # times its size that a larger one may: what gzip makes of zeros
HEAD_BYTES = 1 << 22

Size = Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]


@dataclass(frozen=True)
class Place:
    """Where a buffer of numbers lies in a file: its first byte, how many numbers, and of which type of NumPy."""

    start: int
    count: int
    type: Literal["<f4", "i1"]


class _Told(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What the head tells of a coded buffer.

    Attributes:
        kept: how many numbers are told, all or those that are not zero.
        bits: of a code; 0 for numbers that have none.
        half: the type of 16 bits that holds the numbers.
    """

    start: Size
    count: Size
    type: Literal["<f4", "i1"]
    kept: Size
    is_sparse: bool
    bits: Annotated[int, msgspec.Meta(ge=0, le=8)] = 0
    half: Literal["", "float16", "bfloat16"] = ""

    @property
    def size(self) -> int:
        """How many bytes the buffer has."""
        return self.count * np.dtype(self.type).itemsize


def most_bytes(stored: bytes) -> int:
    """Return how many bytes a stored file may have when it is unpacked."""
    return max(FREE_BYTES, MOST_RATIO * len(stored))


def pack(file: bytes, places: list[Place], *, entropy: bool) -> bytes:
    """Return a file with the buffers at these places in few bits; those that do not get smaller stay.

    Args:
        places: in the order in which they lie in the file.
        entropy: whether all streams are coded by Zstandard as well.
    """
    rest = np.frombuffer(file, np.uint8).copy()
    told, streams = [], []
    for place in places:
        values = np.frombuffer(file, place.type, place.count, place.start)
        coded = _coded(place, values) if values.nbytes >= LEAST_BYTES else None
        if coded is None or sum(map(len, coded[1])) >= values.nbytes:
            continue
        told.append(coded[0])
        streams += coded[1]
        rest[place.start : place.start + values.nbytes] = 0
    whole = [msgspec.json.encode(told), pa.compress(rest.tobytes(), "zstd", asbytes=True), *streams]
    sizes = [len(stream) for stream in whole]
    if entropy:
        codec = pa.Codec("zstd", compression_level=ZSTD_LEVEL)
        whole = [codec.compress(stream, asbytes=True) if stream else b"" for stream in whole]
    head = struct.pack("<4I", len(file), entropy, len(whole), zlib.crc32(file))
    lengths = [number for pair in zip(sizes, map(len, whole), strict=True) for number in pair]
    return MAGIC + head + struct.pack(f"<{len(lengths)}I", *lengths) + b"".join(whole)


def unpack(packed: bytes) -> bytes:
    """Return the file that `pack` was given.

    Raises:
        ValueError: where it is none of ours, is cut off or damaged, or claims to be larger than a file may be.
    """
    if not packed.startswith(MAGIC):
        raise ValueError("it is no file of packed weights")
    try:
        size, is_coded, count, checksum = struct.unpack_from("<4I", packed, len(MAGIC))
        _hold(size <= most_bytes(packed), f"it claims {size:,} bytes, more than {most_bytes(packed):,}")
        _hold(2 <= count <= len(packed) and is_coded <= 1, "it is damaged")
        streams = _streams(packed, count, is_coded, size)
        head = next(streams)
        _hold(len(head) <= HEAD_BYTES, "its head is too long")
        told = msgspec.json.decode(head, type=list[_Told])
        file = np.frombuffer(pa.decompress(next(streams), size, "zstd", asbytes=True), np.uint8).copy()
        end = 0
        for one in told:
            _hold(end <= one.start and one.start + one.size <= size, "a buffer lies outside of it")
            end = one.start + one.size
            _decode(one, streams, file[one.start : end].view(one.type))
        _hold(next(streams, None) is None, "it has too many streams")
    except StopIteration:
        raise ValueError("it has too few streams") from None
    except (struct.error, OSError, msgspec.MsgspecError) as error:
        raise ValueError(f"it cannot be read ({error})") from None
    whole = file.tobytes()
    _hold(not checksum or zlib.crc32(whole) == checksum, "it is damaged")
    return whole


def _hold(is_so: bool, otherwise: str) -> None:
    if not is_so:
        raise ValueError(otherwise)


def _streams(packed: bytes, count: int, is_coded: int, size: int) -> Iterator[bytes]:
    """Yield the streams of a file that unpacks to so many bytes, each as it is asked for."""
    start = len(MAGIC) + 16
    lengths = struct.unpack_from(f"<{2 * count}I", packed, start)
    start += 8 * count
    _hold(start + sum(lengths[1::2]) == len(packed), "it is cut off")
    for whole, length in zip(lengths[::2], lengths[1::2], strict=True):
        stream = packed[start : start + length]
        start += length
        if not is_coded:
            _hold(whole == length, "it is damaged")
            yield stream
        else:  # a head, or the rest of a file packed once more, may be larger than the file
            _hold(whole <= size + HEAD_BYTES, "a stream is longer than the file")
            yield pa.decompress(stream, whole, "zstd", asbytes=True) if whole else b""


def _coded(place: Place, values: np.ndarray) -> tuple[_Told, list[bytes]] | None:
    """Return what is told of a buffer, and its streams; None where it has too many different numbers."""
    bits = values.view(f"u{values.itemsize}")  # as there are two zeros, of which one is kept
    is_kept = bits != 0
    is_sparse = bool(1 - is_kept.mean() >= MANY_ZEROS)
    kept = bits[is_kept] if is_sparse else bits
    told = _Told(place.start, place.count, place.type, len(kept), is_sparse)
    places = [_gaps(is_kept)] if is_sparse else []
    book = _book(kept)
    if book is not None:
        told.bits = max(int(len(book) - 1).bit_length(), 1)
        return told, [*places, book.tobytes(), _packed(kept, book, told.bits)]
    if values.dtype == np.float32:
        halves = _to_float16(kept.view(np.float32))
        told.half = "bfloat16" if halves is None else "float16"
        halves = _to_bfloat16(kept) if halves is None else halves
        if halves is not None:
            return told, [*places, halves.tobytes()]
        told.half = ""
    return (told, [*places, kept.tobytes()]) if is_sparse else None


def _book(kept: np.ndarray) -> np.ndarray | None:
    """Return the different numbers, rising; None for too many."""
    book = kept[:0]
    for start in range(0, len(kept), BLOCK):
        book = np.union1d(book, kept[start : start + BLOCK])
        if len(book) > MOST_VALUES:
            return None
    return book


def _decode(told: _Told, streams: Iterator[bytes], values: np.ndarray) -> None:
    """Write the numbers of a buffer into `values`."""
    gaps = next(streams) if told.is_sparse else None
    if told.bits:
        book = np.frombuffer(next(streams), told.type)
        kept = book[_unpacked(next(streams), told.bits, told.kept, len(book))]
    elif told.half:
        halves = np.frombuffer(next(streams), HALVES[told.half])
        kept = halves.astype(np.float32)
        if told.half == "bfloat16":
            kept = halves.astype(np.uint32)
            kept <<= 16
            kept = kept.view(np.float32)
    else:
        kept = np.frombuffer(next(streams), told.type)
    _hold(len(kept) == told.kept, "a buffer has another size than it claims")
    if gaps is None:
        _hold(len(kept) == len(values), "a buffer has another size than it claims")
        values[:] = kept
        return
    values[:] = 0
    start = 0
    for places in _places(gaps):
        stop = start + len(places)
        _hold(stop <= len(kept) and (not len(places) or places[-1] < len(values)), "a place lies outside its buffer")
        values[places] = kept[start:stop]
        start = stop
    _hold(start == len(kept), "a buffer has fewer places than numbers")


def _gaps(is_kept: np.ndarray) -> bytes:
    """Return the zeros before each place since the one before, a byte each; 255 stands for 255 and no place."""
    told, last = [], -1
    for start in range(0, len(is_kept), BLOCK):
        places = start + np.flatnonzero(is_kept[start : start + BLOCK])
        if len(places):
            full, rest = np.divmod(np.diff(places, prepend=last) - 1, GAP)
            ends = np.cumsum(full + 1) - 1
            gaps = np.full(int(ends[-1]) + 1, GAP, np.uint8)
            gaps[ends] = rest
            told.append(gaps.tobytes())
            last = places[-1]
    return b"".join(told)


def _places(told: bytes) -> Iterator[np.ndarray]:
    """Yield the places that `_gaps` told, block by block."""
    every, next_ = np.frombuffer(told, np.uint8), 0
    for start in range(0, len(every), BLOCK):
        gaps = every[start : start + BLOCK].astype(np.int64)
        is_place = gaps < GAP
        after = next_ + np.cumsum(gaps + is_place)  # the first number behind each
        next_ = after[-1]
        yield after[is_place] - 1


def _packed(kept: np.ndarray, book: np.ndarray, bits: int) -> bytes:
    """Return which number of a book each is, in so many bits, the first in the lowest ones."""
    parts = []
    for start in range(0, len(kept), BLOCK):
        codes = np.searchsorted(book, kept[start : start + BLOCK]).astype(np.uint8)
        each = np.unpackbits(codes[:, None], axis=1, count=bits, bitorder="little")
        parts.append(np.packbits(each, bitorder="little").tobytes())
    return b"".join(parts)


def _unpacked(packed: bytes, bits: int, count: int, values: int) -> np.ndarray:
    """Return codes, each below `values`: uint8 (count,)."""
    _hold(len(packed) == -(-count * bits // 8), "a buffer has another size than it claims")
    stored, codes = np.frombuffer(packed, np.uint8), np.empty(count, np.uint8)
    for start in range(0, count, BLOCK):
        part = codes[start : start + BLOCK]
        each = np.unpackbits(
            stored[start * bits // 8 :][: BLOCK * bits // 8], count=len(part) * bits, bitorder="little"
        )
        part[:] = np.packbits(each.reshape(-1, bits), axis=1, bitorder="little")[:, 0]
    _hold(not count or int(codes.max()) < values, "a code is of no number")
    return codes


def _to_float16(values: np.ndarray) -> np.ndarray | None:
    with np.errstate(over="ignore"):
        halves = values.astype("<f2")
    return halves if (halves.astype(np.float32) == values).all() else None


def _to_bfloat16(words: np.ndarray) -> np.ndarray | None:
    return (words >> 16).astype("<u2") if not (words & 0xFFFF).any() else None
