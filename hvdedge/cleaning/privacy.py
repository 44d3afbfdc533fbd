"""Take from columns what tells a person: drop, hash, generalise or mask them, and count the groups that are left.

    drop         the column goes
    hash         HMAC-SHA-256 of the cell's text, the first 32 hex digits: equal cells stay equal, in all tables that
                 are hashed with the same key; without the key nobody can try values out
    generalise   34 -> 30..39, 2021-05-17 -> 2021-05
    mask         Annabel -> A***l

The key is read from a file or an environment variable of any one rank and stands in no record, log or message. The
change log of privacy has no value from before; what earlier methods of this stage wrote there of a treated column is
blotted out. What earlier stages wrote is not: the raw files, `prepared/`, `changes/prepare` and `quarantine/` still
hold all of it, as does whatever of the record's metrics quotes values. Give away `cleaned/` alone.

k-anonymity: with `k` and `quasi` the rows are grouped by what could tell a person together (age, postcode, sex), after
all the above; a group of fewer than k rows is found by who knows these. `suppress` takes such rows out.

Source: Krawczyk, Bellare and Canetti 1997, RFC 2104 (HMAC); Sweeney 2002, k-anonymity.
"""

import functools
import hashlib
import hmac
import math
import os
import pathlib
from collections.abc import Callable
from decimal import Decimal
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mpi4py import MPI

from hvdedge.columns import NUMBERS, kind, matching, plain, shown, to_floats, to_text
from hvdedge.errors import InputError
from hvdedge.hashes import row_keys
from hvdedge.options import ColumnName, Natural, NonNegative, Path
from hvdedge.parallel import agree, allgather_bytes, frequencies
from hvdedge.quantiles import select
from hvdedge.spool import Spool
from hvdedge.tables import Table
from hvdedge.workspace import CHANGES, Workspace

FILE = "treatments.json"  # which columns are treated and how, without what they hold
LEAST_KEY_BYTES = 16
VARIABLES = "HVDEDGE_"  # only environment variables that begin so reach the ranks
HASH_DIGITS = 32
MOST_RANGES, MOST_WIDTH = 2.0**53, 2.0**62
RANGES = 10  # about how many a column of numbers gets where no width is given
STEPS = {"month": "%Y-%m", "year": "%Y"}
MASK = "***"  # of one length, because a name's length tells, too
CATEGORY = pa.dictionary(pa.int32(), pa.string())
Change = Callable[[pa.Array], pa.Array]


def clean(
    table: Table,
    comm: MPI.Intracomm,
    *,
    drop: tuple[ColumnName, ...] = (),
    hash: tuple[ColumnName, ...] = (),
    generalise: tuple[ColumnName, ...] = (),
    mask: tuple[ColumnName, ...] = (),
    key: Path = "",
    key_variable: str = "HVDEDGE_PRIVACY_KEY",
    width: NonNegative = 0.0,
    dates: Literal["month", "year"] = "month",
    keep_first: Natural = 1,
    keep_last: Natural = 0,
    quasi: tuple[ColumnName, ...] = (),
    k: Natural = 0,
    suppress: bool = False,
) -> Table:
    """Collective. Drop, hash, generalise or mask columns, and count the rows that are still told apart.

    Args:
        table: this rank's rows.
        drop, hash, generalise, mask: names or patterns (p*) of columns; each column in one of them at most.
        key: a file with the key of the hashes, at least 16 bytes; blanks around it do not count.
        key_variable: an environment variable with the key, where no file is named; its name begins with HVDEDGE_.
        width: of the ranges that numbers are generalised to; 0 for about ten ranges a column.
        dates: what dates and timestamps are generalised to.
        keep_first, keep_last: how many characters a mask leaves; a text of no more than both together is all masked.
        quasi: names or patterns of the columns that could tell a person together.
        k: how many rows should share these; 0 for no check.
        suppress: whether rows that fewer share go.
    Returns:
        The rows, treated columns as text (hash, mask) or categories (generalise). Each changed cell (rules hashed,
        masked, generalised) and suppressed row (rule suppressed) is in the change log, without what it was.
    Raises:
        InputError: where a pattern matches no column, a column is in two lists or of a kind that cannot be treated so,
            there is no key to hash with, or k has no columns to look at.
    """
    chosen = _chosen(table, {"drop": drop, "hash": hash, "generalise": generalise, "mask": mask})
    checked = _check_quasi(table, chosen["drop"], quasi, k, suppress)
    secret = _key(key, key_variable, comm) if chosen["hash"] else b""
    steps = _steps(table, chosen["generalise"], width, comm)
    changes = _changes(chosen, secret, (keep_first, keep_last), steps, STEPS[dates])
    table.workspace.kept[FILE] = {
        **{treatment: chosen[treatment] for treatment in ("hash", "mask")},
        "generalise": {name: None if step is None else str(step) for name, step in steps.items()},
    }
    _blot(table.workspace, [*chosen["drop"], *changes])
    result = _change(table, chosen["drop"], changes)
    found: dict[str, object] = {}
    if k:
        result, found = _check(result, checked, k, suppress, comm)
    counts = _log(result, {name: rule for name, (rule, _, _) in changes.items()}, comm)
    table.workspace.metrics["privacy"] = {"dropped": chosen["drop"], "changed": counts, **found}
    return result


def treatment(kept: dict, options: dict, comm: MPI.Intracomm) -> Callable[[pa.RecordBatch], pa.RecordBatch]:
    """Return what treats the columns of new rows as those of the run were, of which FILE holds `kept`.

    Args:
        options: those of `clean`.
    Raises:
        InputError: where columns are hashed and the key is not there.
    """
    steps = {name: None if step is None else Decimal(step) for name, step in kept["generalise"].items()}
    secret = _key(options["key"], options["key_variable"], comm) if kept["hash"] else b""
    ends = options["keep_first"], options["keep_last"]
    changes = _changes(kept, secret, ends, steps, STEPS[options["dates"]])

    def treat(batch: pa.RecordBatch) -> pa.RecordBatch:
        for name, (_, change, _) in changes.items():
            if name in batch.schema.names:
                place = batch.schema.get_field_index(name)
                batch = batch.set_column(place, name, plain(change(batch.column(name))))
        return batch

    return treat


def _changes(
    chosen: dict, secret: bytes, ends: tuple[int, int], steps: dict[str, Decimal | None], form: str
) -> dict[str, tuple[str, Change, pa.DataType]]:
    """Return column -> the rule, what becomes of its cells, and their type then."""
    changes: dict[str, tuple[str, Change, pa.DataType]] = {}
    for name in chosen["hash"]:
        changes[name] = ("hashed", functools.partial(_hashed, secret=secret), pa.string())
    for name in chosen["mask"]:
        changes[name] = ("masked", functools.partial(_masked, first=ends[0], last=ends[1]), pa.string())
    for name, step in steps.items():
        changes[name] = ("generalised", functools.partial(_generalised, step=step, form=form), CATEGORY)
    return changes


def _chosen(table: Table, patterns: dict[str, tuple[str, ...]]) -> dict[str, list[str]]:
    """Return treatment -> its columns."""
    found: dict[str, list[str]] = {}
    taken: dict[str, str] = {}
    for treatment, wanted in patterns.items():
        where = f"clean.privacy.{treatment}"
        found[treatment] = matching(table, wanted, where) if wanted else []
        able = {name for name in table.columns if _is_able(treatment, kind(table.schema.field(name).type))}
        for name in found[treatment]:
            if name in taken:
                raise InputError(f"{where}: received {name!r}, which is in {taken[name]!r}, too, allowed: one; choose")
            if name not in able:
                raise InputError(
                    f"{where}: received {name!r}, which holds {kind(table.schema.field(name).type)}, allowed: "
                    f"{shown([name for name in table.columns if name in able])}; drop it, or mask text"
                )
            taken[name] = treatment
    return found


def _is_able(treatment: str, kind: str) -> bool:
    if treatment == "generalise":
        return kind in (*NUMBERS, "date", "timestamp")
    return treatment == "drop" or kind != "array"


def _check_quasi(table: Table, dropped: list[str], quasi: tuple[str, ...], k: int, suppress: bool) -> list[str]:
    names = matching(table, quasi, "clean.privacy.quasi") if quasi else []
    for name in names:
        if name in dropped or kind(table.schema.field(name).type) == "array":
            raise InputError(
                f"clean.privacy.quasi: received {name!r}, which is dropped or an array, allowed: columns that are "
                "kept; leave it out"
            )
    if bool(k) != bool(names):
        raise InputError(
            f"clean.privacy.k: received {k} with quasi = {list(quasi)}, allowed: k of at least 1 with columns, or "
            "neither; name the columns that could tell a person together"
        )
    if suppress and not k:
        raise InputError("clean.privacy.suppress: received true without k, allowed: with; set k and quasi")
    return names


def _key(path: str, variable: str, comm: MPI.Intracomm) -> bytes:
    """Collective. Return the key that any rank has; the others get it from there."""
    if not variable.startswith(VARIABLES):
        raise InputError(
            f"clean.privacy.key_variable: received {variable!r}, allowed: names that begin with {VARIABLES}, as no "
            "others reach the ranks; rename it"
        )
    mine = b""
    with agree(comm):
        if path and pathlib.Path(path).exists():
            try:
                mine = pathlib.Path(path).read_bytes().strip()
            except OSError as error:
                raise InputError(
                    f"clean.privacy.key: received {path!r}, which cannot be read ({error.strerror}), allowed: a file "
                    "with the key; check it"
                ) from None
        elif not path:
            mine = os.environb.get(variable.encode(), b"").strip()
    found = {part for part in allgather_bytes(mine, comm) if part}
    if not found:
        raise InputError(
            f"clean.privacy.hash: received no key, neither in a file (key = {path!r}) nor in the environment variable "
            f"{variable}, allowed: at least {LEAST_KEY_BYTES} bytes; make one with: openssl rand -hex 32"
        )
    if len(found) > 1:
        raise InputError("clean.privacy.key: received different keys on different hosts, allowed: one; copy it")
    if len(secret := found.pop()) < LEAST_KEY_BYTES:
        raise InputError(
            f"clean.privacy.key: received {len(secret)} bytes, allowed: at least {LEAST_KEY_BYTES}, as a short key is "
            "found by trying; make one with: openssl rand -hex 32"
        )
    return secret


def _steps(table: Table, names: list[str], width: float, comm: MPI.Intracomm) -> dict[str, Decimal | None]:
    """Collective. Return column -> the width of its ranges; None for dates."""
    numbers = [name for name in names if kind(table.schema.field(name).type) in NUMBERS]
    ends = select(table, [[name] for name in numbers], (0, 1), comm)
    found: dict[str, Decimal | None] = dict.fromkeys(names)
    for name, (low, high) in zip(numbers, ends, strict=True):
        is_whole = kind(table.schema.field(name).type) == "integer"
        if width >= MOST_WIDTH or (width and not is_whole and (high - low) / width > MOST_RANGES):
            raise InputError(
                f"clean.privacy.width: received {width:g} for {name!r}, whose numbers lie {high - low:g} apart, "
                f"allowed: below {MOST_WIDTH:g}, and what makes up to {MOST_RANGES:g} ranges; change it"
            )
        step = Decimal(repr(width)) if width else _nice((high - low) / RANGES)
        found[name] = Decimal(math.ceil(step)) if is_whole else step
    return found


def _nice(width: float) -> Decimal:
    """Return the smallest of ... 0.5, 1, 2, 5, 10, 20 ... that is not below `width`."""
    if not 0 < width < math.inf:
        return Decimal(1)
    power = math.floor(math.log10(width))
    return next(
        nice
        for step in (1, 2, 5, 10, 20)
        if (nice := Decimal(step).scaleb(power)) >= Decimal(width) * Decimal("0.999999")
    )


def _hashed(column: pa.Array, secret: bytes) -> pa.Array:
    cells = to_text(column).dictionary_encode()
    made = [
        hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()[:HASH_DIGITS]
        for text in cells.dictionary.to_pylist()  # each different value of a batch once
    ]
    return pa.array(made, pa.string()).take(cells.indices)


def _masked(column: pa.Array, first: int, last: int) -> pa.Array:
    cells = to_text(column)
    start = pc.utf8_slice_codeunits(cells, 0, first) if first else ""
    end = pc.utf8_slice_codeunits(cells, -last) if last else ""
    shown = pc.binary_join_element_wise(start, MASK, end, "")
    whole = pc.if_else(pc.greater(pc.utf8_length(cells), first + last), shown, MASK)
    return pc.if_else(cells.is_valid(), whole, pa.scalar(None, pa.string())).cast(pa.string())


def _generalised(column: pa.Array, step: Decimal | None, form: str) -> pa.Array:
    if step is None:
        cells = plain(column)
        cells = cells.cast(pa.timestamp("s")) if pa.types.is_date(cells.type) else cells
        return pc.strftime(cells, form).cast(CATEGORY)
    values = to_floats(column)
    is_whole = pa.types.is_integer(column.type)
    known = ~np.isnan(values)
    if pa.types.is_signed_integer(column.type):  # not as floats, which would move numbers beyond 2**53 elsewhere
        place = np.asarray(column.fill_null(0).cast(pa.int64())) // int(step)
    else:
        place = np.floor(np.where(known, values, 0.0) / float(step))
    places, row = np.unique(place, return_inverse=True)
    texts = [_range(int(number), step, is_whole) for number in places.tolist()]
    codes = pa.array(row.astype(np.int32), mask=~known)
    return pa.DictionaryArray.from_arrays(codes, pa.array(texts, pa.string()))


def _range(place: int, step: Decimal, is_whole: bool) -> str:
    low, high = place * step, (place + 1) * step
    return f"{low:f}..{high - 1:f}" if is_whole else f"{low:f}..{high:f}"


def _blot(workspace: Workspace, names: list[str]) -> None:
    """Take the values of `names` out of what this stage has logged so far."""
    if not names:
        return
    kept = Spool(CHANGES, workspace.scratch, workspace.table_bytes)
    for batch in workspace.changes:
        is_told = pc.fill_null(pc.is_in(batch.column("column"), value_set=pa.array(names)), False)
        nothing = pa.scalar(None, pa.string())
        for name in ("before", "after"):
            place = CHANGES.get_field_index(name)
            batch = batch.set_column(place, CHANGES.field(name), pc.if_else(is_told, nothing, batch.column(name)))
        kept.append(batch)
    workspace.changes.clear()
    workspace.changes = kept


def _change(table: Table, dropped: list[str], changes: dict[str, tuple[str, Change, pa.DataType]]) -> Table:
    schema = pa.schema(
        [
            pa.field(field.name, changes[field.name][2]) if field.name in changes else field
            for field in table.schema
            if field.name not in dropped
        ]
    )

    def changed(batch: pa.RecordBatch) -> pa.RecordBatch:
        columns = [
            changes[name][1](batch.column(name)) if name in changes else batch.column(name) for name in schema.names
        ]
        return pa.RecordBatch.from_arrays(columns, schema=schema)

    return table.map(changed, schema) if dropped or changes else table


def _log(table: Table, rules: dict[str, str], comm: MPI.Intracomm) -> dict[str, int]:
    """Collective. Log what the treated cells of the rows that stayed are now; return column -> how many."""
    counts = dict.fromkeys(rules, 0)
    for batch in table.batches() if rules else ():
        for name, rule in rules.items():
            rows = pa.array(np.flatnonzero(np.asarray(batch.column(name).is_valid())))
            counts[name] += len(rows)
            table.workspace.log_changes(
                _file=batch.column("_file").take(rows),
                _line=batch.column("_line").take(rows),
                column=[name] * len(rows),
                before=pa.nulls(len(rows), pa.string()),
                after=to_text(batch.column(name).take(rows)),
                rule=[rule] * len(rows),
            )
    totals = np.array([*counts.values()], np.int64)
    comm.Allreduce(MPI.IN_PLACE, totals, op=MPI.SUM)
    return dict(zip(counts, totals.tolist(), strict=True))


def _check(
    table: Table, names: list[str], k: int, suppress: bool, comm: MPI.Intracomm
) -> tuple[Table, dict[str, object]]:
    """Collective. Return the table, without rows of small groups where `suppress`, and what was found."""
    sizes, groups = frequencies(row_keys(table, names), comm)
    is_small = sizes < k
    small = np.array(is_small.sum(), np.int64)
    comm.Allreduce(MPI.IN_PLACE, small, op=MPI.SUM)
    ends = np.array([sizes.min(initial=np.iinfo(np.int64).max)])
    comm.Allreduce(MPI.IN_PLACE, ends, op=MPI.MIN)
    found: dict[str, object] = {
        **{"k": k, "quasi": names, "groups": groups, "smallest_group": int(ends[0]) if groups else None},
        **{"rows_below_k": int(small), "rows_suppressed": int(small) if suppress else 0},
    }
    if not suppress:
        return table, found
    start = 0
    for batch in table.batches():
        table.workspace.log_rows(batch, np.flatnonzero(is_small[start : start + batch.num_rows]), "suppressed")
        start += batch.num_rows
    return table.filter(~is_small), found
