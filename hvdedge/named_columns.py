"""The columns that a pipeline names, held against the table that prepare read before any other stage begins."""

import difflib
import fnmatch
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from hvdedge import records
from hvdedge.config import SETTINGS, Empty, Pipeline, Section
from hvdedge.errors import InputError
from hvdedge.options import ColumnName, ColumnRule

SHOWN = 20  # columns in a message


def check_columns(pipeline: Pipeline, stages: Sequence[str], folder: pathlib.Path) -> None:
    """Hold that each option that is a ColumnName, or a rule of some, names those in the run's record of prepare.

    Names that begin with _ are those of columns that the stages add. What the pipeline says is held of all its stages,
    as what is wrong of a later one would be found when all before it is done. In `stages`, those that run, the default
    of a chosen method, such as an extractor, is held, too; those of other methods may name what is not there.

    Raises:
        InputError: where a name or pattern stands for no column.
    """
    path = folder / "prepare.json"
    columns = list(records.read(path).metrics.get("columns", ())) if path.exists() else []
    for stage in records.STAGES[1:] if columns else ():  # else the stage that lacks its table tells
        for where, name, is_given in _named(stage, pipeline.sections[stage]):
            if name in columns or name.startswith("_") or fnmatch.filter(columns, name):
                continue
            if not is_given and stage not in stages:
                continue
            near = difflib.get_close_matches(name, columns, n=1)
            few = [*columns[: SHOWN - 1], "..."] if len(columns) > SHOWN else columns
            raise InputError(
                f"{pipeline.path}: {where}: received {repr(name) if is_given else f'nothing and took {name!r}'}, which "
                f"matches no column, allowed: {', '.join(few)}; "
                + (f"did you mean {near[0]!r}?" if near else f"name one by {where}")
            )


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
