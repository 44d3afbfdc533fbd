"""Weights of a TensorFlow Lite file in few bits: codebooks, packed codes, differences of places, entropy coding.

    file      = magic | lengths of the streams | head (JSON) | rest of the file | for each coded buffer its streams
    a buffer of up to 256 different numbers, zero aside, or of many zeros:
        values    the codebook: what the codes stand for
        places    of what is not zero, as the zeros before each: a byte, 255 for 255 zeros with nothing behind them
        codes     of what is not zero, or of all where few are, packed into as few bits as there are numbers
    a buffer of numbers that 16 bits hold: those

The buffers are found in the file by its own directory, so that what layers are there, and how the converter turned
their weights, does not matter: unpacked, the file is the same byte for byte. Decoding needs no TensorFlow.

Source: Han, Mao and Dally 2016, Deep compression; the entropy coder is Zstandard's (Collet and Kucherawy 2021, RFC
8878: Huffman codes and finite-state entropy).
"""

import json
import struct
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

MAGIC = b"hvdedge weights 1\n"
LEAST_BYTES = 256  # of a buffer that is worth a codebook
MOST_VALUES = 256
MANY_ZEROS = 0.3  # share from which places are told
GAP = 255
ZSTD_LEVEL = 19
HALVES = {"float16": np.dtype("<f2"), "bfloat16": np.dtype("<u2")}


@dataclass(frozen=True)
class Place:
    """Where a buffer of numbers lies in a file: its first byte, how many numbers, and of which type of NumPy."""

    start: int
    count: int
    type: str


def pack(file: bytes, places: list[Place], *, entropy: bool) -> bytes:
    """Return a file with the buffers at these places in few bits; those that do not get smaller stay.

    Args:
        entropy: whether all streams are coded by Zstandard as well.
    """
    rest = np.frombuffer(file, np.uint8).copy()
    told, streams = [], []
    for place in places:
        values = np.frombuffer(file, place.type, place.count, place.start)
        coded = _coded(values) if values.nbytes >= LEAST_BYTES else None
        if coded is None or sum(map(len, coded[1])) >= values.nbytes:
            continue
        told.append({"start": place.start, "count": place.count, "type": place.type, **coded[0]})
        streams += coded[1]
        rest[place.start : place.start + values.nbytes] = 0
    whole = [json.dumps(told).encode(), pa.compress(rest.tobytes(), "zstd", asbytes=True), *streams]
    sizes = [len(stream) for stream in whole]
    if entropy:
        codec = pa.Codec("zstd", compression_level=ZSTD_LEVEL)
        whole = [codec.compress(stream, asbytes=True) if stream else b"" for stream in whole]
    head = struct.pack("<4I", len(file), entropy, len(whole), 0)
    lengths = [number for pair in zip(sizes, map(len, whole), strict=True) for number in pair]
    return MAGIC + head + struct.pack(f"<{len(lengths)}I", *lengths) + b"".join(whole)


def unpack(packed: bytes) -> bytes:
    """Return the file that `pack` was given.

    Raises:
        ValueError: where it is none of ours, or is cut off.
    """
    if not packed.startswith(MAGIC):
        raise ValueError("it is no file of packed weights")
    try:
        size, entropy, count, _ = struct.unpack_from("<4I", packed, len(MAGIC))
        start = len(MAGIC) + 16
        lengths = struct.unpack_from(f"<{2 * count}I", packed, start)
        start += 8 * count
        streams = []
        for whole, length in zip(lengths[::2], lengths[1::2], strict=True):
            stream = packed[start : start + length]
            if len(stream) < length:
                raise ValueError("it is cut off")
            start += length
            streams.append(pa.decompress(stream, whole, "zstd", asbytes=True) if entropy and whole else stream)
        told = json.loads(streams[0])
        file = np.frombuffer(pa.decompress(streams[1], size, "zstd", asbytes=True), np.uint8).copy()
        left = iter(streams[2:])
        for buffer in told:
            values = _decoded(buffer, left).astype(buffer["type"])
            file[buffer["start"] : buffer["start"] + values.nbytes] = values.view(np.uint8)
    except (struct.error, OSError, KeyError, StopIteration, json.JSONDecodeError) as error:
        raise ValueError(f"it cannot be read ({error})") from None
    return file.tobytes()


def _coded(values: np.ndarray) -> tuple[dict, list[bytes]] | None:
    """Return what is told of a buffer, and its streams; None where it has too many different numbers."""
    bits = values.view(f"u{values.itemsize}")  # as there are two zeros, of which one is kept
    is_zero = bits == 0
    is_sparse = is_zero.mean() >= MANY_ZEROS
    kept = values[~is_zero] if is_sparse else values
    book, codes = np.unique(bits[~is_zero] if is_sparse else bits, return_inverse=True)
    told = {"kept": len(kept), "is_sparse": bool(is_sparse)}
    places = [_gaps(np.flatnonzero(~is_zero))] if is_sparse else []
    if len(book) <= MOST_VALUES:
        each = max(int(len(book) - 1).bit_length(), 1)
        return told | {"bits": each}, [*places, book.tobytes(), _packed(codes, each)]
    if values.dtype == np.float32:
        for name, half in (("float16", _to_float16), ("bfloat16", _to_bfloat16)):
            halves = half(kept)
            if halves is not None:
                return told | {"half": name}, [*places, halves.tobytes()]
    return (told, [*places, kept.tobytes()]) if is_sparse else None


def _decoded(told: dict, streams) -> np.ndarray:
    """Return the numbers of a buffer."""
    type_ = np.dtype(told["type"])
    places = _places(next(streams)) if told["is_sparse"] else None
    if "bits" in told:
        book = np.frombuffer(next(streams), type_)
        kept = book[_unpacked(next(streams), told["bits"], told["kept"])]
    elif "half" in told:
        halves = np.frombuffer(next(streams), HALVES[told["half"]])
        is_float16 = told["half"] == "float16"
        kept = halves.astype(np.float32) if is_float16 else (halves.astype(np.uint32) << 16).view(np.float32)
    else:
        kept = np.frombuffer(next(streams), type_)
    if places is None:
        return kept
    values = np.zeros(told["count"], type_)
    values[places] = kept
    return values


def _gaps(places: np.ndarray) -> bytes:
    """Return the zeros before each place since the one before, a byte each; 255 stands for 255 and no place."""
    before = np.diff(places, prepend=-1) - 1
    full, rest = np.divmod(before, GAP)
    ends = np.cumsum(full + 1) - 1
    told = np.full(int(ends[-1]) + 1 if len(ends) else 0, GAP, np.uint8)
    told[ends] = rest
    return told.tobytes()


def _places(told: bytes) -> np.ndarray:
    """Return the places that `_gaps` told."""
    gaps = np.frombuffer(told, np.uint8).astype(np.int64)
    is_place = gaps < GAP
    return (np.cumsum(gaps) + np.cumsum(is_place) - 1)[is_place]


def _packed(codes: np.ndarray, bits: int) -> bytes:
    """Return codes in so many bits each, the first in the lowest ones."""
    each = (codes.astype(np.uint8)[:, None] >> np.arange(bits, dtype=np.uint8)) & 1
    return np.packbits(each.reshape(-1).astype(bool), bitorder="little").tobytes()


def _unpacked(packed: bytes, bits: int, count: int) -> np.ndarray:
    each = np.unpackbits(np.frombuffer(packed, np.uint8), count=count * bits, bitorder="little").reshape(-1, bits)
    return (each.astype(np.int64) << np.arange(bits)).sum(axis=1)


def _to_float16(values: np.ndarray) -> np.ndarray | None:
    with np.errstate(over="ignore"):
        halves = values.astype("<f2")
    return halves if (halves.astype(np.float32) == values).all() else None


def _to_bfloat16(values: np.ndarray) -> np.ndarray | None:
    words = values.view(np.uint32)
    return (words >> 16).astype("<u2") if not (words & 0xFFFF).any() else None
