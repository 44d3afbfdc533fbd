"""What a pipeline says of columns and files, held against the table that prepare read before any other stage begins."""

import dataclasses
import difflib
import fnmatch
import pathlib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from hvdedge import records
from hvdedge.config import SETTINGS, Chosen, Empty, Pipeline, Section
from hvdedge.errors import InputError
from hvdedge.options import ColumnName, ColumnRule

SHOWN = 20  # columns in a message
TEXTS = ("category", "text")
NO_TIMES = ("boolean", *TEXTS, "array")  # what rows cannot be split by in time
TREATED = ("hash", "mask", "generalise")  # what [clean.privacy] does to columns that are text afterwards


def check_columns(pipeline: Pipeline, stages: Sequence[str], folder: pathlib.Path) -> None:
    """Hold that each option that is a ColumnName, or a rule of some, names those in the run's record of prepare, of a
    type that it can take and not dropped before, and that records are linked of two files or more.

    Names that begin with _ are those of columns that the stages add. What the pipeline says is held of all its stages,
    as what is wrong of a later one would be found when all before it is done. In `stages`, those that run, the default
    of a chosen method, such as an extractor, is held, too; those of other methods may name what is not there.

    Raises:
        InputError: where one does not hold.
    """
    path = folder / "prepare.json"
    metrics = records.read(path).metrics if path.exists() else {}
    kinds = {name: its.get("type", "") for name, its in metrics.get("columns", {}).items()}
    if not kinds:
        return  # the stage that lacks its table tells
    columns = list(kinds)
    for stage in records.STAGES[1:]:
        for where, name, is_given in _named(stage, pipeline.sections[stage]):
            if name.startswith("_") or _matching(columns, name) or not (is_given or stage in stages):
                continue
            near = difflib.get_close_matches(name, columns, n=1)
            raise InputError(
                f"{pipeline.path}: {where}: received {repr(name) if is_given else f'nothing and took {name!r}'}, which "
                f"matches no column, allowed: {_shown(columns)}; "
                + (f"did you mean {near[0]!r}?" if near else f"name one by {where}")
            )
    cleaners = {chosen.name: chosen for chosen in pipeline.sections["clean"].methods}
    if "labels" in cleaners and "clean" in stages:
        _check_label(pipeline, cleaners["labels"], columns)
    if "duplicates" in cleaners:
        _check_link(pipeline, cleaners["duplicates"], metrics.get("files", []))
    if "privacy" in cleaners:
        kinds = _check_dropped(pipeline, cleaners["privacy"], kinds, stages)
    _check_kinds(pipeline, kinds)


def _check_label(pipeline: Pipeline, labels: Chosen, columns: list[str]) -> None:
    """Hold that [clean.labels] has a column of labels, its own or that of extract."""
    learned = (name for name, option in pipeline.learned.items() if option == "extract.label")
    name = labels.options["label"]
    if name not in columns and not any(label in columns for label in learned):
        raise InputError(
            f"{pipeline.path}: clean.labels.label: received nothing and took {name!r}, which matches no column, "
            f"allowed: {_shown(columns)}; name one by clean.labels.label"
        )


def _check_link(pipeline: Pipeline, duplicates: Chosen, files: Sequence[dict[str, Any]]) -> None:
    """Hold that records to be linked stand in two files or more."""
    if duplicates.options["link"] and files and sum(bool(file.get("rows")) for file in files) < 2:
        raise InputError(
            f"{pipeline.path}: clean.duplicates.link: received true with rows of one file only, allowed: two or more "
            "files; read them by prepare.source, or leave link out"
        )


def _check_dropped(pipeline: Pipeline, privacy: Chosen, kinds: dict[str, str], stages: Sequence[str]) -> dict[str, str]:
    """Hold that nothing after [clean.privacy] needs a column that it drops; return the types of those it leaves."""
    treated = {
        option: {name for pattern in privacy.options[option] for name in _matching(kinds, pattern)}
        for option in ("drop", *TREATED)
    }
    clean = pipeline.sections["clean"]
    after = dataclasses.replace(clean, methods=clean.methods[clean.methods.index(privacy) + 1 :])
    left = [name for name in kinds if name not in treated["drop"]]
    for stage in records.STAGES[1:]:
        for where, name, is_given in _named(stage, after if stage == "clean" else pipeline.sections[stage]):
            if _matching(left, name) or not _matching(kinds, name) or not (is_given or stage in stages):
                continue
            raise InputError(
                f"{pipeline.path}: {where}: received {name!r}, which [clean.privacy] drops before, allowed: "
                f"{_shown(left)}; name one of these, or take {name!r} out of clean.privacy.drop"
            )
    changed = set().union(*(treated[option] for option in TREATED))
    return {name: "text" if name in changed else kinds[name] for name in left}


def _check_kinds(pipeline: Pipeline, kinds: dict[str, str]) -> None:
    """Hold that rows are split in time by what has an order, and that what is to be taken as numbers are some."""
    extract = pipeline.sections["extract"]
    by, split = extract.settings["by"], extract.settings["split"]
    if split == "time" and kinds.get(by) in NO_TIMES:
        able = [name for name in kinds if kinds[name] not in NO_TIMES]
        raise InputError(
            f"{pipeline.path}: extract.by: received {by!r}, a column of {kinds[by]} for split = 'time', allowed: "
            f"dates, times, numbers ({_shown(able)}); name another column"
        )
    for pattern in extract.choices["extractor"].options.get("numbers", ()):
        for name in _matching(kinds, pattern):
            if kinds[name] in (*TEXTS, "array"):
                raise InputError(
                    f"{pipeline.path}: extract.numbers: received {name!r}, {kinds[name]}, allowed: numbers, booleans "
                    "and times; leave it out"
                )


def _matching(columns: Iterable[str], name: str) -> list[str]:
    """Return the columns that a name or pattern stands for."""
    return [column for column in columns if column == name or fnmatch.fnmatchcase(column, name)]


def _shown(columns: Sequence[str]) -> str:
    return ", ".join([*columns[: SHOWN - 1], "..."] if len(columns) > SHOWN else columns)


def _named(stage: str, section: Section) -> Iterator[tuple[str, str, bool]]:
    """Yield option, column and whether it is not the default, of all that a stage is to find in the table."""
    fields = msgspec.structs.fields(SETTINGS.get(stage, Empty))
    held: list[tuple[str, Any, Any, Any]] = [
        (f"{stage}.{field.name}", field.type, section.settings[field.name], field.default) for field in fields
    ]
    for chosen in section.choices.values():
        held += [
            (f"{stage}.{name}", option.type, chosen.options[name], option.default)
            for name, option in chosen.method.options.items()
        ]
    for chosen in section.methods:
        held += [
            (f"{stage}.{chosen.name}.{name}", option.type, chosen.options[name], option.default)
            for name, option in chosen.method.options.items()
            if chosen.options[name] != option.default
        ]
    for where, wanted, value, default in held:
        yield from ((where, name, value != default) for name in _names(wanted, value) if name)


def _names(wanted: Any, value: Any) -> Sequence[str]:
    """Return the columns that an option of the type `wanted` names."""
    if wanted == ColumnName:
        return (value,)
    if wanted == tuple[ColumnRule, ...]:
        return [name.strip() for rule in value for name in re.split("->|,", rule)]
    return value if wanted == tuple[ColumnName, ...] else ()
