"""Which columns tell every row from all others: all minimal unique column combinations, the candidates for a key.

See `hvdedge.discovery` for how they are found.
"""

from mpi4py import MPI

from hvdedge import discovery
from hvdedge.coded import encode
from hvdedge.options import Natural, NonNegative
from hvdedge.tables import Table


def profile(
    table: Table,
    comm: MPI.Intracomm,
    *,
    maximal: Natural = 0,
    time_limit: NonNegative = 300.0,
    null_equals_null: bool = True,
) -> dict:
    """Collective. Find all minimal sets of columns in which no two rows are alike.

    Args:
        table: this rank's rows.
        maximal: columns in a set, at most; 0 for any number.
        time_limit: seconds after which it stops with what is proved by then; 0 for none.
        null_equals_null: whether two empty cells are equal.
    Returns:
        The same on every rank: unique_columns, a list of lists of names, none where a row is there twice; complete:
        true, or the size up to which none is missing.
    """
    coded = encode(table, comm, null_equals_null=null_equals_null)
    found = discovery.unique_columns(coded, comm, maximal=maximal, seconds=time_limit)
    if found.is_short_of(maximal):
        table.workspace.events.append(
            {"what": "narrowed", "action": f"unique column combinations complete up to {found.complete} columns"}
        )
    return {
        "unique_columns": [[coded.names[column] for column in columns] for columns, _ in found.sets],
        "complete": {"unique_columns": found.complete},
    }
