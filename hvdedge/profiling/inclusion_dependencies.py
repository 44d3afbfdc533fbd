"""Which columns hold only values of others: inclusion dependencies, and the foreign keys among them.

See `hvdedge.inclusions` for how they are found, `hvdedge.foreign_keys` for which come first.
"""

from mpi4py import MPI

from hvdedge import foreign_keys, further_tables, inclusions
from hvdedge.options import Count, NonNegative, Path
from hvdedge.tables import Table

WHERE = "profile.inclusion_dependencies.tables"


def profile(
    table: Table,
    comm: MPI.Intracomm,
    *,
    maximal: Count = 1,
    time_limit: NonNegative = 300.0,
    tables: tuple[Path, ...] = (),
) -> dict:
    """Collective. Find all inclusion dependencies between columns of the table, and of further tables.

    Args:
        table: this rank's rows.
        maximal: columns on each side, at most; those of a side are of one table.
        time_limit: seconds after which it stops with what is found by then; 0 for none.
        tables: files of further tables, see `hvdedge.further_tables`; the column b of a.csv is called "a.b".
    Returns:
        The same on every rank: inclusion_dependencies, a list of [[names], [names that hold their values]];
        foreign_keys, those of one column whose right side has each value once, the likeliest first: {column, of, used,
        alike, repeated, score}, see `hvdedge.foreign_keys`; complete: true, or the size up to which none is missing.
    Raises:
        InputError: on every rank, where two tables or columns have one name.
        RankError: on every rank, where a table cannot be read.
    """
    everything = {"": table}
    if tables:
        everything |= further_tables.read_all(tables, WHERE, table.workspace, comm)
    where = inclusions.places(everything, WHERE)
    found, size = inclusions.find(where, comm, maximal=maximal, seconds=time_limit)
    if size < maximal:
        table.workspace.events.append(
            {"what": "narrowed", "action": f"inclusion dependencies complete up to {size} columns"}
        )
    return {
        "inclusion_dependencies": [[list(left), list(right)] for left, right in found],
        "foreign_keys": foreign_keys.rank(where, found, table.workspace.run.parent.name, comm),
        "complete": {"inclusion_dependencies": True if size == maximal else size},
    }
