"""Sums of what clients have, at their coordinator, rank 0: open, or such that it learns the sum alone.

open      client -> coordinator   its numbers, which the coordinator adds as they come
secure    all members             public keys, and the shares of their secrets, each sealed for one, to all
          member -> coordinator   its numbers under masks, as far as it has not fallen silent
          member -> coordinator   shares of the secrets with which the masks are taken from the sum
"""

from collections.abc import Sequence

import numpy as np

from hvdedge import secret_shares
from hvdedge import secure_aggregation as secure
from hvdedge.parallel import MeteredComm, agree, allgather_rows


def open_sum(values: np.ndarray, clients: Sequence[int], comm: MeteredComm) -> np.ndarray:
    """Collective. Return on rank 0 the sum of the `values` of the ranks `clients`, of their type; else zeros."""
    total = np.zeros_like(values)
    if comm.rank and comm.rank in clients:
        comm.Send(values, 0)
    elif not comm.rank:
        arriving = np.empty_like(values)
        for client in clients:
            if client:
                comm.Recv(arriving, client)
            total += arriving if client else values
    return total


def secure_sum(values: np.ndarray, members: Sequence[int], silent: Sequence[int], comm: MeteredComm) -> np.ndarray:
    """Collective. Return on rank 0 the sum of the numbers of `members` but those that are `silent`, float64.

    Args:
        values: what this rank adds, of any rank of the same length.
        members: at least `LEAST_MEMBERS` ranks, rising.
        silent: those that share out their secrets and then send nothing, less than half.
    Raises:
        RankError: where a number is not finite or too large.
    """
    whole = np.zeros(len(values), np.uint64)
    with agree(comm):
        whole = secure.to_whole(values)
    arrived = [member for member in members if member not in silent]
    me = secure.Member(comm.rank) if comm.rank in members else None
    public = _told(me.public if me else b"", members, 2 * secure.KEY_BYTES, comm)
    sealed = me.share_out(public) if me else {}
    packets = b"".join(sealed.get(other, bytes(secure.SEALED_BYTES)) for other in members) if me else b""
    every = _told(packets, members, len(members) * secure.SEALED_BYTES, comm)
    masked = np.zeros(len(values), np.uint64)
    if me:
        place = members.index(comm.rank) * secure.SEALED_BYTES
        mine = {other: row[place : place + secure.SEALED_BYTES] for other, row in every.items() if other != comm.rank}
        masked = me.masked(whole, mine)
    total = open_sum(masked, arrived, comm)
    revealed = _revealed(me.reveal(arrived) if me else {}, members, arrived, comm)
    if comm.rank:
        return np.zeros(len(values))
    return secure.from_whole(secure.unmasked(total, public, arrived, revealed))


def _told(mine: bytes, members: Sequence[int], size: int, comm: MeteredComm) -> dict[int, bytes]:
    """Collective. Return what each member has to say, `size` bytes, by its number."""
    row = np.frombuffer(mine, np.uint8).reshape(-1, size)
    return {member: told.tobytes() for member, told in zip(members, allgather_rows(row, comm), strict=True)}


def _revealed(
    mine: dict[int, int], members: Sequence[int], arrived: Sequence[int], comm: MeteredComm
) -> dict[int, dict[int, int]]:
    """Collective. Return on rank 0 what each of `arrived` reveals: the share of a secret of each member."""
    size = secret_shares.BYTES
    if comm.rank and comm.rank in arrived:
        comm.Send(np.frombuffer(b"".join(mine[member].to_bytes(size) for member in members), np.uint8), 0)
    if comm.rank:
        return {}
    found = {}
    row = np.empty(len(members) * size, np.uint8)
    for teller in arrived:
        if teller:
            comm.Recv(row, teller)
            shares = (int.from_bytes(row[place : place + size].tobytes()) for place in range(0, len(row), size))
            found[teller] = dict(zip(members, shares, strict=True))
        else:
            found[teller] = mine
    return found
