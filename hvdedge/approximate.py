"""Functional dependencies that nearly hold: X -> A with an error of up to epsilon.

    g3(X -> A) = the fewest rows that must go for it to hold / rows

It falls as X grows, so X is looked at size by size, and no more where a part of it will do; in a size columns of few
values come first, which tell most, should the time not do for all. Column sets are dealt over the ranks; all that one
of them tells of all columns on the right is found in one sorting of the rows.

Source: Kivinen and Mannila 1995, Approximate inference of functional dependencies from relations (g3); Huhtala et al.
1999, TANE.
"""

from fractions import Fraction
from itertools import combinations

import numpy as np
from mpi4py import MPI

from hvdedge.coded import Coded
from hvdedge.discovery import Candidate, Clock, Found
from hvdedge.groups import Groups
from hvdedge.parallel import allgather_json


def functional_dependencies(
    coded: Coded, error: float, comm: MPI.Intracomm, *, maximal_left: int, seconds: float = 0.0
) -> Found:
    """Collective. Return all minimal functional dependencies with g3 up to `error`; see `discovery` for the others."""
    clock, width, found = Clock(seconds), len(coded.names), Found()
    allowed = int(Fraction(repr(float(error))) * coded.rows)  # .29 of 100 are 29, which no float says
    known: dict[int, list[int]] = {right: [] for right in range(width)}
    most = min(maximal_left, max(width - 1, 0))
    few_first = sorted(known, key=lambda column: (coded.distinct[column], column))
    for size in range(most + 1):
        mine: list[Candidate] = []
        is_open, is_over = False, False
        for turn, left in enumerate(combinations(few_first, size)):
            mask = sum(1 << column for column in left)
            rights = [r for r in known if not mask >> r & 1 and not any(part & mask == part for part in known[r])]
            is_open |= bool(rights)
            if not rights or turn % comm.size != comm.rank:
                continue
            if clock.is_over():
                is_over = True
                break
            groups = Groups(coded, list(left))
            mine += [(mask, right) for right in rights if groups.removals(right) <= allowed]
        told = np.array([is_over], np.int64)
        comm.Allreduce(MPI.IN_PLACE, told, op=MPI.MAX)
        for mask, right in sorted(tuple(one) for part in allgather_json(mine, comm) for one in part):
            known[right].append(mask)
            found.sets.append((tuple(column for column in range(width) if mask >> column & 1), right))
        if told[0]:
            found.complete = max(size - 1, 0)
            break
        if not is_open:
            break
    else:
        found.complete = True if most == max(width - 1, 0) else most
    found.sets.sort()
    return found
