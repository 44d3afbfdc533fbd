"""Images in folders: JPEG, PNG, BMP, GIF and WebP files, decoded by the ranks together, each its block of the files.

    flowers/train/rose/a.jpg   ->   image [r, g, b, r, ...] | label rose | split train | _file train/rose/a.jpg

Each file is decoded once, one at a time, into this rank's HDF5 part, from which the rows are read as often as they are
needed. The part lies in scratch, or in the folder `cache`, where it outlives the run: the next run with the same files
(names, sizes, times), options, version of Pillow and number of ranks decodes nothing.

    images (files here, values) uint8, in chunks with a checksum | kept (files here,) | aside: JSON | attribute key
"""

import hashlib
import json
import os
import pathlib
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import h5py
import numpy as np
import PIL
import pyarrow as pa
from mpi4py import MPI

from hvdedge.columns import shown
from hvdedge.errors import InputError
from hvdedge.hdf5_files import BROKEN
from hvdedge.image_files import FORMATS, Form, NoImageError, decode, is_image, quiet_pillow
from hvdedge.options import Count, Path
from hvdedge.parallel import agree, allgather_json, bcast_json, block
from hvdedge.records import replacing
from hvdedge.sources import as_text, columns_as_read, each_once
from hvdedge.splits import split_of
from hvdedge.tables import Table, batch_rows
from hvdedge.workspace import Source

BATCH_BYTES = 1 << 22
CHUNK_BYTES = 1 << 20
MOST_NAMED = 8  # files in an event
VERSION = 1  # of a part; another one where it, or how images are decoded, changes


@dataclass(frozen=True)
class _Part:
    """The images of this rank's files.

    Attributes:
        images: uint8 (files here, values); None for no file.
        kept: which of the files have an image, bool (files here,).
        aside: number of the file among them, rule, and why there is none, for each of the others.
        is_old: whether it was there before.
    """

    images: h5py.Dataset | None
    kept: np.ndarray
    aside: list[tuple[int, str, str]]
    is_old: bool = False


def read(
    source: Source,
    comm: MPI.Intracomm,
    *,
    height: Count = 64,
    width: Count = 64,
    channels: Literal[1, 3] = 3,
    fit: Literal["crop", "pad", "stretch"] = "crop",
    most_pixels: Count = 50_000_000,
    cache: Path = "",
) -> Table:
    """Collective. Read the images in folders as one table, all brought to one size.

    Args:
        channels: 3 for red, green, blue; 1 for grey.
        fit: crop keeps the aspect and cuts the middle out, pad keeps it and fills with black, stretch does not keep it.
        most_pixels: an image larger than that, by its header, is not decoded.
        cache: a folder that keeps the decoded images, for the next run; nothing: they go with this one.
    Returns:
        This rank's block of the images, sorted by their names: `image`, a list of height * width * channels uint8, row
        by row, the channels of a pixel next to each other; `label`, the name of the folder that holds the file, unless
        one holds all; `split`, where folders above are called train, validation, test. Where each of those that hold
        files is called so, the label is the name of the folder above.
    Raises:
        InputError: on every rank, where no file is an image that can be decoded.
    """
    form = Form(height, width, channels, fit)
    most = source.workspace.memory_bytes // 64
    if form.values > most:
        raise InputError(
            f"prepare.height: received {height} x {width} x {channels} values an image, allowed: {most}, a 64th of "
            "memory; make them smaller or raise memory"
        )
    source = each_once(source, comm)
    paths = _images(source, comm)
    root = pathlib.Path(os.path.commonpath([path.parent for path in paths]))
    names = [as_text(path.relative_to(root)) for path in paths]
    labels, splits = _labels(paths, root), _splits(names, source)
    rows = block(len(paths), comm.size, comm.rank)
    mine = paths[rows]
    parts: list[_Part] = []
    with agree(comm):
        parts.append(_part(mine, form, most_pixels, cache, root, source, comm))
    part = parts[0]
    _tell(part, rows, names, source, comm)
    folders = [name.rpartition("/")[0] or root.name for name in names]
    source.workspace.metrics["files"] = _told(part, rows, folders, comm)
    kept = rows.start + np.flatnonzero(part.kept)
    columns = {"label": labels, "split": splits}
    schema = pa.schema(
        [
            ("image", pa.list_(pa.uint8(), form.values)),
            *((name, pa.string()) for name, values in columns.items() if values is not None),
            ("_file", pa.string()),
            ("_line", pa.int64()),
        ]
    )
    at_once = batch_rows(schema)

    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, len(kept), at_once):
            numbers = kept[start : start + at_once]
            assert part.images is not None
            pixels = _read(part.images, numbers - rows.start, at_once)
            yield pa.record_batch(
                [
                    pa.FixedSizeListArray.from_arrays(pa.array(pixels.reshape(-1)), form.values),
                    *(pa.array([values[n] for n in numbers]) for values in columns.values() if values is not None),
                    pa.array([names[n] for n in numbers], pa.string()),
                    pa.array(np.ones(len(numbers), np.int64)),
                ],
                schema=schema,
            )

    types = {"image": "array"} | {name: "category" for name, values in columns.items() if values is not None}
    source.workspace.metrics["columns"] = columns_as_read(types)
    return Table(schema, len(kept), source.workspace, batches)


def _read(images: h5py.Dataset, places: np.ndarray, most: int) -> np.ndarray:
    """Return some images of a part, whose places rise: uint8 (places, values); at most `most` others at once."""
    found = np.empty((len(places), images.shape[1]), np.uint8)
    begin = 0
    while begin < len(places):
        first = places[begin]
        end = int(np.searchsorted(places, first + most))
        found[begin:end] = images[first : places[end - 1] + 1][places[begin:end] - first]
        begin = end
    return found


def _images(source: Source, comm: MPI.Intracomm) -> list[pathlib.Path]:
    """Collective. Return the files that are images, sorted by name; the others become an event.

    Raises:
        InputError: on every rank, where there is none.
    """
    told = allgather_json([is_image(path) for path in source.paths[comm.rank :: comm.size]], comm)
    chosen = [told[number % comm.size][number // comm.size] for number in range(len(source.paths))]
    others = [path for path, is_chosen in zip(source.paths, chosen, strict=True) if not is_chosen]
    endings = Counter(as_text(path.suffix.lower() or path.name) for path in others)
    kinds = shown([f"{count} {ending}" for ending, count in sorted(endings.items())])
    if len(others) == len(chosen):
        raise InputError(
            f"prepare.source: received {len(others)} files of which none is an image ({kinds}), allowed: "
            f"{', '.join(FORMATS)}; name their folder"
        )
    if others:
        event = {
            "what": "no_images_left_out",
            "files": len(others),
            "endings": kinds,
            "such_as": as_text(others[0].name),
        }
        source.workspace.events.append(event)
    images = [path for path, is_chosen in zip(source.paths, chosen, strict=True) if is_chosen]
    return sorted(images, key=os.fsencode)


def _labels(paths: Sequence[pathlib.Path], root: pathlib.Path) -> list[str] | None:
    """Return the name of the folder that holds each image, or of the one above, where each of these names a split.

    None where that says nothing: one folder has all.
    """
    folders = [path.parent for path in paths]
    if all(split_of(folder.name) for folder in folders):
        folders = [folder.parent for folder in folders]
        if not all(folder.is_relative_to(root) for folder in folders):
            return None
    if len({*folders}) == 1:
        return None
    return [unicodedata.normalize("NFC", as_text(folder.name)) for folder in folders]


def _splits(names: Sequence[str], source: Source) -> list[str] | None:
    """Return the split that a folder above names for each image; None where not all have one."""
    folders = [name.split("/")[:-1] for name in names]
    if all(parts and split_of(parts[-1]) for parts in folders):
        return [split_of(parts[-1]) for parts in folders]
    found = [next(filter(None, map(split_of, parts[:-1])), "") for parts in folders]
    if all(found):
        return found
    if any(found):
        without = found.index("")
        event = {"what": "split_not_told", "images": found.count(""), "such_as": names[without]}
        source.workspace.events.append({**event, "action": "made no column split"})
    return None


def _part(
    paths: Sequence[pathlib.Path],
    form: Form,
    most_pixels: int,
    cache: str,
    root: pathlib.Path,
    source: Source,
    comm: MPI.Intracomm,
) -> _Part:
    """Return the images of these files: those of the cache, if they are there, else decoded."""
    if not paths:
        return _Part(None, np.zeros(0, bool), [])
    if not cache:
        place = source.workspace.scratch / "images.h5"
        with replacing(place, "folder by TMPDIR") as temporary:
            _fill(temporary, paths, form, most_pixels, source.workspace.memory_bytes, "")
        return _opened(place, len(paths), form)
    limits = [VERSION, asdict(form), most_pixels, source.workspace.memory_bytes, PIL.__version__]
    status = [path.stat() for path in paths]
    files = [
        [as_text(path.relative_to(root)), one.st_size, one.st_mtime_ns] for path, one in zip(paths, status, strict=True)
    ]
    key = _digest([limits, comm.size, comm.rank, files])
    known = _digest([limits, as_text(root)])[:12]  # a part of this folder and options takes the place of the last one
    place = pathlib.Path(cache) / f"images-{known}-{comm.rank:05d}-of-{comm.size:05d}.h5"
    old = _known(place, key, len(paths), form)
    if old is not None:
        return old
    with replacing(place, "prepare.cache") as temporary:
        _fill(temporary, paths, form, most_pixels, source.workspace.memory_bytes, key)
    return _opened(place, len(paths), form)


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _fill(
    place: pathlib.Path, paths: Sequence[pathlib.Path], form: Form, most_pixels: int, memory_bytes: int, key: str
) -> None:
    """Decode the files into a new part."""
    at_once = max(min(CHUNK_BYTES // form.values, len(paths)), 1)
    kept, aside = np.ones(len(paths), bool), []
    with h5py.File(place, "w") as file, quiet_pillow():
        shape = (len(paths), form.values)
        images = file.create_dataset("images", shape, np.uint8, chunks=(at_once, form.values), fletcher32=True)
        for start in range(0, len(paths), at_once):
            pixels = np.zeros((min(at_once, len(paths) - start), form.values), np.uint8)
            for number in range(start, start + len(pixels)):
                try:
                    pixels[number - start] = decode(paths[number], form, most_pixels, memory_bytes)
                except NoImageError as error:
                    kept[number] = False
                    aside.append((number, error.rule, str(error)))
            images[start : start + len(pixels)] = pixels
        file["kept"] = kept
        file["aside"] = np.frombuffer(json.dumps(aside).encode(), np.uint8)
        file.attrs["key"] = key


def _opened(place: pathlib.Path, files: int, form: Form) -> _Part:
    """Return the part in a file, which stays open, as another run may put another one in its place.

    Raises:
        OSError, KeyError, ValueError: where it is none, or of other files.
    """
    file = h5py.File(place, "r", locking=False)
    images, kept = file["images"], file["kept"][:]
    if images.shape != (files, form.values) or images.dtype != np.uint8 or kept.shape != (files,):
        raise ValueError("of another shape")
    aside = [(int(number), str(rule), str(why)) for number, rule, why in json.loads(file["aside"][:].tobytes())]
    return _Part(images, kept.astype(bool), aside)


def _known(place: pathlib.Path, key: str, files: int, form: Form) -> _Part | None:
    """Return the part of a former run, if it is whole and has this key."""
    if not place.is_file():
        return None
    try:
        part = _opened(place, files, form)
        if part.images is None or part.images.file.attrs.get("key") != key:
            return None
        step = max(BATCH_BYTES // form.values, 1)
        for start in range(0, files, step):
            part.images[start : start + step]  # which holds each chunk against its checksum
    except BROKEN:
        return None
    return _Part(part.images, part.kept, part.aside, is_old=True)


def _tell(part: _Part, rows: slice, names: Sequence[str], source: Source, comm: MPI.Intracomm) -> None:
    """Collective. Set aside what could not be decoded, and tell of it and of the cache.

    Raises:
        InputError: on every rank, where no image is left.
    """
    aside = [(names[rows.start + number], rule, why) for number, rule, why in part.aside]
    if aside:
        files, rules, texts = zip(*aside, strict=True)
        source.workspace.set_aside(_file=files, _line=[1] * len(aside), text=texts, rule=rules)
    cached = int(part.kept.sum()) if part.is_old else 0
    told = allgather_json([len(aside), aside[:MOST_NAMED], cached], comm)
    count, cached = sum(one[0] for one in told), sum(one[2] for one in told)
    named = [entry for one in told for entry in one[1]][:MOST_NAMED]
    if count == len(names):
        raise InputError(
            f"prepare.source: received {count} image{'s' * (count > 1)} of which none can be decoded "
            f"({named[0][0]}: {named[0][2]}), allowed: some whole ones; get them again"
        )
    if count:
        files = ", ".join(name for name, _, _ in named) + ", ..." * (count > len(named))
        why = ", ".join(sorted({rule for _, rule, _ in named}))
        source.workspace.events.append({"what": "images_set_aside", "images": count, "files": files, "why": why})
    if cached:
        source.workspace.events.append({"what": "images_from_cache", "images": cached})


def _told(part: _Part, rows: slice, folders: Sequence[str], comm: MPI.Intracomm) -> list[dict]:
    """Collective. Return what the record says of each folder."""
    places = {folder: place for place, folder in enumerate(dict.fromkeys(folders))}
    mine = np.array([places[folder] for folder in folders[rows]], np.int64)
    counts = np.stack([np.bincount(mine[part.kept == is_kept], minlength=len(places)) for is_kept in (True, False)])
    counts = np.ascontiguousarray(counts, np.int64)
    comm.Allreduce(MPI.IN_PLACE, counts, op=MPI.SUM)
    files = [
        {"file": folder, "rows": int(counts[0, place]), "rows_quarantined": int(counts[1, place])}
        for folder, place in places.items()
    ]
    return bcast_json(files, comm)
