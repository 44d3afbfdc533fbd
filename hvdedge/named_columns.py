"""The columns that a pipeline names, held against the table that prepare read before any other stage begins."""

import difflib
import fnmatch
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from hvdedge import records
from hvdedge.config import SETTINGS, Empty, Pipeline, Section
from hvdedge.errors import InputError
from hvdedge.options import ColumnName

SHOWN = 20  # columns in a message


def check_columns(pipeline: Pipeline, stages: Sequence[str], folder: pathlib.Path) -> None:
    """Hold that each option of `stages` that is a ColumnName names one of those in the run's record of prepare.

    Names that begin with _ are those of columns that the stages add. The default of a chosen method, such as an
    extractor, is held, too; those of other methods may name what is not there.

    Raises:
        InputError: where a name or pattern stands for no column.
    """
    path = folder / "prepare.json"
    columns = list(records.read(path).metrics.get("columns", ())) if path.exists() else []
    for stage in stages if columns else ():  # else the stage that lacks its table tells
        for where, name, is_given in _named(stage, pipeline.sections[stage]):
            if name in columns or name.startswith("_") or fnmatch.filter(columns, name):
                continue
            near = difflib.get_close_matches(name, columns, n=1, cutoff=0.5)
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
        names = (value,) if wanted == ColumnName else value if wanted == tuple[ColumnName, ...] else ()
        yield from ((where, name, value != default) for name in names if name)
