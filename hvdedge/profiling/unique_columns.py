"""Which columns tell every row from all others: all minimal unique column combinations, the candidates for a key.

See `hvdedge.discovery` for how they are found, `hvdedge.key_scores` for which is likely meant as one.
"""

from mpi4py import MPI

from hvdedge import discovery, key_scores
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
    top: Natural = 10,
) -> dict:
    """Collective. Find all minimal sets of columns in which no two rows are alike.

    Args:
        table: this rank's rows.
        maximal: columns in a set, at most; 0 for any number.
        time_limit: seconds after which it stops with what is proved by then; 0 for none.
        null_equals_null: whether two empty cells are equal.
        top: how many of the likeliest keys are listed by themselves.
    Returns:
        The same on every rank: unique_columns, a list of lists of names, the likeliest key first, none where a row is
        there twice; of the likeliest, as best_unique_columns, {columns, length, value, position: what speaks for it,
        from 0 to 1, score: their mean, missing: the empty cells, with which a set comes last}; complete: true, or the
        size up to which none is missing.
    """
    coded = encode(table, comm, null_equals_null=null_equals_null)
    found = discovery.unique_columns(coded, comm, maximal=maximal, seconds=time_limit)
    if found.is_short_of(maximal):
        table.workspace.events.append(
            {"what": "narrowed", "action": f"unique column combinations complete up to {found.complete} columns"}
        )
    keys = key_scores.rank(coded, (columns for columns, _ in found.sets))
    return {
        "unique_columns": [[coded.names[column] for column in key.columns] for key in keys],
        "best_unique_columns": [
            {
                "columns": [coded.names[column] for column in key.columns],
                "length": key.length,
                "value": key.value,
                "position": key.position,
                "missing": key.missing,
                "score": key.score,
            }
            for key in keys[:top]
        ],
        "complete": {"unique_columns": found.complete},
    }
