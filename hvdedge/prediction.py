"""What the model of a run tells of new rows, as CSV, a block of rows at a time: `hvdedge predict`.

    run --trained_runs--> reader, types, fillings, features, model
    FILE --new_rows--> x --compressed.Runner--> outputs --answers--> OUTPUT, OUTPUT.rejected.csv

No rank but this one is needed, and with a compressed model no TensorFlow.
"""

import contextlib
import csv
import itertools
import math
import os
import pathlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TextIO

import numpy as np
import pyarrow as pa

from hvdedge import answers, records
from hvdedge.answers import Answers
from hvdedge.columns import shown
from hvdedge.errors import InputError
from hvdedge.new_rows import MEMORY_BYTES, NewRows
from hvdedge.trained_runs import KERAS, TrainedRun, open_run
from hvdedge.workspace import Scratch, Workspace

STDOUT = ("-", "/dev/stdout")
REJECTED = ("file", "row", "column", "text", "rule")
NOT_FINITE = "not_finite"  # a number that none can hold, which the change log alone tells
ABOVE = ("preamble",)  # rules of lines before the table, which are no rows
MOST_SHOWN, MOST_CHARACTERS = 3, 60  # of what is rejected, in the line for the user
MODEL_ROWS = 64  # at once, as what a network for images holds of each may be a hundred kilobytes
Model = Callable[[np.ndarray], np.ndarray]
Rejected = tuple[tuple, str, int]  # sort key, file and line


def predict(folder: pathlib.Path, given: str, output: str, wanted: str | None, tell: Callable[[str], None]) -> None:
    """Write what the model of a run tells of the rows in files.

    Args:
        folder: the run's.
        given: a file, a folder or a pattern.
        output: a file, one of STDOUT for standard output.
        wanted: the compressed model that is used; the smallest that is about as good as the best for None.
        tell: takes the lines for the user.
    Raises:
        InputError: where any of these cannot be used.
    """
    run = open_run(folder)
    place = None if output in STDOUT else _checked(output)
    spec = run.read_json("extract", "features.json")
    name = run.choose_model(wanted)
    paths = _files(given, place)
    told = answers.find(spec)
    scratch = Scratch()
    try:
        rows = NewRows(run, spec, paths, Workspace(scratch.path, scratch.path, MEMORY_BYTES))
        model = _load(run, name, spec["input_shape"])
        rejected = _Rejected(rows)
        with _opened(place) as file:
            counts = _write(file, rows, model, told, rejected)
            if place is not None:
                rejected.write(place)
        _tell(rows, told, rejected, counts, name, place, tell)
    finally:
        scratch.remove()


def _checked(output: str) -> pathlib.Path:
    """Return the path of the output.

    Raises:
        InputError: where no file can be written there.
    """
    path = pathlib.Path(output)
    folder = path.absolute().parent
    is_other = path.exists() and not path.is_file()
    if is_other or not folder.is_dir():
        what = "which is no file" if is_other else f"a file in {folder}, which is no folder"
        raise InputError(f"--output: received {output!r}, {what}, allowed: a file in a folder that is there; name one")
    if not os.access(folder if not path.exists() else path, os.W_OK):
        raise InputError(
            f"--output: received {output!r}, which may not be written, allowed: one that may; name another"
        )
    return path


def _files(given: str, output: pathlib.Path | None) -> list[pathlib.Path]:
    """Return the files that FILE names, sorted, without those that this command writes.

    Raises:
        InputError: where there is none.
    """
    path = pathlib.Path(given)
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.is_file())
        why = "a folder without files"
    else:
        found = [path] if path.exists() else sorted(path.parent.glob(path.name) if path.name else ())
        found = [file for file in found if file.is_file()]
        why = "no file there"
    ours = {output.resolve(), _beside(output).resolve()} if output is not None else set()
    others = [file for file in found if file.resolve() not in ours]
    if found and not others:
        raise InputError(
            f"FILE: received {given!r}, which --output would write over, allowed: another file; name another --output"
        )
    found = others
    if not found:
        raise InputError(f"FILE: received {given!r}, {why}, allowed: a file, a folder or a pattern; name one")
    odd = [file for file in found if str(file) != os.fsencode(file).decode("utf-8", "replace")]
    if odd:
        name = os.fsencode(odd[0])
        raise InputError(f"FILE: received {name!r}, a name that is no UTF-8, allowed: names in UTF-8; rename it")
    empty = [file for file in found if not file.stat().st_size]
    if len(empty) == len(found):
        raise InputError(f"{empty[0]}: received an empty file, allowed: one with rows; fill it")
    return found


def _load(run: TrainedRun, name: str, shape: list[int]) -> Model:
    """Return what gives the outputs for x, (rows, *shape).

    Raises:
        InputError: where the model's file is not there, or none that can be run.
    """
    if name != KERAS:
        from hvdedge.compressed import Runner

        outputs = run.records["compress"].outputs
        start = f"compressed/{name}.tflite"
        file = next((output for output in outputs if output.startswith(start)), start)
        stored = run.read("compress", file)
        try:
            with _quiet():
                runner = Runner(stored)
                runner.predict(np.zeros((1, *shape), np.float32))
        except (ValueError, RuntimeError, IndexError) as error:  # as the interpreter tells of what it cannot run
            raise InputError(
                f"{run.folder / file}: received a model that cannot be run ({' '.join(str(error).split())}), expected "
                f"a whole one for rows of shape {shape}; run again with --from compress"
            ) from None

        def told(x: np.ndarray) -> np.ndarray:
            parts = [runner.predict(x[start : start + MODEL_ROWS]) for start in range(0, len(x), MODEL_ROWS)]
            return np.concatenate(parts)

        return told
    place = run.check("train", KERAS)
    try:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        import keras

        model = keras.models.load_model(place, compile=False)
    except ImportError:
        raise InputError(
            f"{run.folder}: received a run without compressed models, whose {KERAS} needs TensorFlow, which is not "
            "here, allowed: a run with a stage compress; add [compress.fixed_point] to its pipeline and run it on"
        ) from None
    return lambda x: model.predict(x, batch_size=256, verbose=0)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep from standard error what the interpreter's library says of itself when it is used first."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


@contextlib.contextmanager
def _opened(place: pathlib.Path | None) -> Iterator[TextIO]:
    """Yield a file to write to, which takes its name when it is whole."""
    if place is None:
        yield sys.stdout
        sys.stdout.flush()
    else:
        with (
            records.replacing(place.resolve(), "--output") as temporary,
            open(temporary, "w", newline="", encoding="utf-8") as file,
        ):
            yield file
            file.flush()


class _Rejected:
    """The rows that could not be read, and the cells that do not fit their columns.

    Attributes:
        count: how many rows there are.
        cells: how many cells there are.
    """

    def __init__(self, rows: NewRows):
        self._rows = rows
        self._wanted = {*rows.needed, rows.label}
        self.count = self.cells = 0
        self._sorted: list[Rejected] | None = None
        before, is_sorted = (), True
        for file, line, column, *_ in self._all():
            self.cells += column is not None
            if not column:
                self.count += 1
                is_sorted = is_sorted and before <= (before := self.key(file, line))
        if not is_sorted:  # by a reader that does not set aside in the order of its files
            self._sorted = sorted(self._unsorted())

    def in_order(self) -> Iterator[Rejected]:
        """Yield the rows in the order of the files."""
        return self._unsorted() if self._sorted is None else iter(self._sorted)

    def _unsorted(self) -> Iterator[Rejected]:
        return ((self.key(file, line), file, line) for file, line, column, *_ in self._all() if not column)

    def key(self, file: str, line: int) -> tuple:
        """Return by what rows are sorted: their file's place among the files, or its name where it is no file's."""
        return self._rows.places.get(file, len(self._rows.places)), os.fsencode(file), line

    def write(self, place: pathlib.Path) -> None:
        """Write the listing beside the output at `place`; where there is nothing to list, none of before stays."""
        beside = _beside(place)
        if not self.count and not self.cells:
            beside.unlink(missing_ok=True)
            return
        with records.replacing(beside, "--output") as temporary, open(temporary, "w", newline="") as file:
            lines = csv.writer(file, lineterminator="\n")
            lines.writerow(REJECTED)
            lines.writerows(self._all())

    def told(self, place: pathlib.Path | None) -> str:
        """Return the line for the user."""
        whats = [f"{_counted(self.count, 'row')} could not be read"] * bool(self.count)
        whats += [f"{_counted(self.cells, 'cell')} of another type taken for missing"] * bool(self.cells)
        some = [
            f"{file} line {line}{f', {column}' if column else ''}: {text[:MOST_CHARACTERS]!r}"
            for file, line, column, text, _ in itertools.islice(self._all(), MOST_SHOWN)
        ]
        where = f"; {_beside(place)} lists them" if place is not None else ""
        return f"{' and '.join(whats)}, such as {'; '.join(some)}{where}"

    def _all(self) -> Iterator[tuple[str, int, str | None, str, str]]:
        """Yield file, line, column, None for a whole row, text and rule."""
        workspace = self._rows.workspace
        for batch in workspace.quarantine:
            for file, line, column, text, rule in zip(*(one.to_pylist() for one in batch.columns), strict=True):
                if (column is None and rule not in ABOVE) or column in self._wanted:
                    yield file, line, column, text or "", rule
        for batch in workspace.changes:
            for file, line, column, before, _, rule in zip(*(one.to_pylist() for one in batch.columns), strict=True):
                if rule == NOT_FINITE and column in self._wanted:
                    yield file, line, column, before or "", rule


@dataclass
class _Counts:
    """How many lines were written, and how many of these have no answer as no whole window ends there."""

    rows: int = 0
    without: int = 0


def _write(file: TextIO, rows: NewRows, model: Model, told: Answers, rejected: _Rejected) -> _Counts:
    """Write a line for each row, those that could not be read among the others."""
    lines = csv.writer(file, lineterminator="\n")
    has_files = rows.has_several_files
    lines.writerow(["row", *["file"] * has_files, *told.names])
    nothing = [""] * len(told.names)
    counts = _Counts(rows=rejected.count)
    waiting = rejected.in_order()
    first = next(waiting, None)

    def catch_up(key: tuple) -> None:
        nonlocal first
        while first and first[0] < key:
            _, name, line = first
            lines.writerow([line, *[name] * has_files, *nothing])
            first = next(waiting, None)

    for batch, has_answer, x in rows.blocks():
        numbers, files = batch.column("_line").to_pylist(), batch.column("_file").to_pylist()
        cells = [[""] * batch.num_rows for _ in told.names]
        if len(x):
            outputs = model(x)
            for column, values in zip(cells, told.cells(outputs), strict=True):
                for place, value in zip(np.flatnonzero(has_answer).tolist(), values, strict=True):
                    column[place] = value
            if rows.label in batch.schema.names:
                told.judge(outputs, batch.column(rows.label).filter(pa.array(has_answer)))
        counts.rows += batch.num_rows
        counts.without += int((~has_answer).sum())
        made = list(zip(numbers, *[files] * has_files, *cells, strict=True))
        if first is None:
            lines.writerows(made)
            continue
        for name, line in zip(files, made, strict=True):
            catch_up(rejected.key(name, line[0]))
            lines.writerow(line)
    catch_up((math.inf,))
    return counts


def _tell(
    rows: NewRows,
    told: Answers,
    rejected: _Rejected,
    counts: _Counts,
    name: str,
    place: pathlib.Path | None,
    tell: Callable[[str], None],
) -> None:
    tell(f"{_counted(counts.rows, 'row')} by the model {name}")
    if told.score():
        tell(told.score())
    for event in rows.workspace.events:
        if event["what"] == "file_left_out":
            tell(f"left out {event['file']}: {event['error']}")
    if rows.known.unknown:
        tell(f"left out columns that the run does not know: {shown([*rows.known.unknown])}")
    if rows.known.by_place and rows.is_named:
        tell(f"took the columns of {shown(rows.known.by_place)}, which have no names, by their places")
    filled = rows.fillings.told() if rows.fillings else []
    if filled:
        tell(f"filled missing cells of {shown(filled)}")
    if rows.lacks_fillings:
        tell("left missing cells as they are, as fillings.json is not in the run's folder")
    unseen = [f"{column} ({cells})" for column, cells in rows.unseen.items() if cells]
    if unseen:
        tell(f"took values that training never saw for unknown ones: cells of {shown(unseen)}")
    if counts.without:
        tell(f"{_counted(counts.without, 'row')} without an answer, as no whole window of their series ends there")
    if rejected.count or rejected.cells:
        tell(rejected.told(place))


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


def _beside(place: pathlib.Path) -> pathlib.Path:
    return place.with_name(f"{place.name.removesuffix('.csv')}.rejected.csv")
