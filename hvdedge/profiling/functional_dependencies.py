"""Which columns follow from which others: all minimal functional dependencies, exact or up to an error.

See `hvdedge.discovery` and `hvdedge.approximate` for how they are found.
"""

import itertools

from mpi4py import MPI

from hvdedge import approximate, discovery
from hvdedge.coded import Coded, encode
from hvdedge.discovery import Found
from hvdedge.groups import Groups
from hvdedge.options import Fraction, Natural, NonNegative
from hvdedge.parallel import allgather_json
from hvdedge.tables import Table

APPROXIMATE_LEFT = 3  # columns on the left of one that nearly holds, where the option does not say
SCORED = 2000  # of which it is looked at how much they tell, those of few columns first
SCORING_TIME = 0.1  # of the time limit, that this may take beside it


def profile(
    table: Table,
    comm: MPI.Intracomm,
    *,
    maximal_left: Natural = 0,
    error: Fraction = 0.0,
    time_limit: NonNegative = 300.0,
    null_equals_null: bool = True,
    top: Natural = 10,
) -> dict:
    """Collective. Find all minimal functional dependencies.

    Args:
        table: this rank's rows.
        maximal_left: columns on the left, at most; 0 for any number (3 where an error is allowed).
        error: the share of the rows that may have to go for a dependency to hold (g3).
        time_limit: seconds after which it stops with what is proved by then, a tenth more to score it; 0 for none.
        null_equals_null: whether two empty cells are equal.
        top: how many dependencies that tell most are listed by themselves.
    Returns:
        The same on every rank: functional_dependencies, a list of [[names on the left], name on the right]; those that
        tell most as best_functional_dependencies, {left, right, redundant: the share of the rows whose right-hand cell
        could be left out, as another row tells it, covered: that of the rows that are alike on the left}; complete:
        true, or the size of the left-hand side up to which none is missing.
    """
    coded = encode(table, comm, null_equals_null=null_equals_null)
    if error:
        most = maximal_left or APPROXIMATE_LEFT
        found = approximate.functional_dependencies(coded, error, comm, maximal_left=most, seconds=time_limit)
    else:
        found = discovery.functional_dependencies(coded, comm, maximal_left=maximal_left, seconds=time_limit)
    if found.is_short_of(maximal_left):
        table.workspace.events.append(
            {
                "what": "narrowed",
                "action": f"functional dependencies complete up to {found.complete} columns on the left",
            }
        )
    names = coded.names
    return {
        "functional_dependencies": [[[names[column] for column in left], names[right]] for left, right in found.sets],
        "best_functional_dependencies": [
            {
                "left": [names[column] for column in left],
                "right": names[right],
                "redundant": redundant,
                "covered": covered,
            }
            for redundant, covered, left, right in _best(coded, found, top, SCORING_TIME * time_limit, comm)
        ],
        "complete": {"functional_dependencies": found.complete},
    }


def _best(
    coded: Coded, found: Found, top: int, seconds: float, comm: MPI.Intracomm
) -> list[tuple[float, float, tuple[int, ...], int]]:
    """Collective. Return the dependencies by which most cells follow from another row's: the share of these cells,
    that of the rows that are alike on the left, left, right.

    Those that are not looked at when `seconds` are over, 0 for never, are left out.
    """
    by_size = sorted(found.sets, key=lambda one: (len(one[0]), one))[: SCORED if top else 0]
    rights: dict[tuple[int, ...], list[int]] = {}
    for left, right in by_size:
        rights.setdefault(left, []).append(right)
    clock = discovery.Clock(seconds)
    mine = itertools.takewhile(lambda left: not clock.is_over(), [*rights][comm.rank :: comm.size])
    told = []
    for left in mine:
        groups = Groups(coded, list(left))
        told.append((list(left), len(groups.one), groups.rows_alike))
    scored = [(count, alike, tuple(left)) for part in allgather_json(told, comm) for left, count, alike in part]
    best = sorted((-count, left, right, alike) for count, alike, left in scored for right in rights[left] if count)
    return [(-count / coded.rows, alike / coded.rows, left, right) for count, left, right, alike in best[:top]]
