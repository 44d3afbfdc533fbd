"""Secure aggregation: the sum is exact whoever falls silent, and nothing else is to be had."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdedge import secret_shares
from hvdedge import secure_aggregation as secure


def round_of(values, silent):
    """Return the members, what arrived under masks, and what is revealed."""
    members = {number: secure.Member(number) for number in values}
    public = {number: member.public for number, member in members.items()}
    sealed = {number: member.share_out(public) for number, member in members.items()}
    masked = {
        number: member.masked(
            secure.to_whole(values[number]), {other: sealed[other][number] for other in sealed if other != number}
        )
        for number, member in members.items()
        if number not in silent
    }
    return public, masked, {number: members[number].reveal(masked.keys()) for number in masked}


@settings(deadline=None, max_examples=10)
@given(st.data())
def test_the_sum_is_that_of_those_that_arrived(data):
    numbers = data.draw(st.lists(st.integers(0, 20), min_size=3, max_size=5, unique=True))
    silent = data.draw(st.lists(st.sampled_from(numbers), unique=True, max_size=(len(numbers) - 1) // 2))
    random = np.random.default_rng(len(numbers))
    values = {number: random.normal(0, 100, 7) for number in sorted(numbers)}
    public, masked, revealed = round_of(values, silent)
    total = secure.unmasked(sum(masked.values()), public, masked.keys(), revealed)
    wanted = sum(secure.to_whole(values[number]) for number in masked)
    assert (total == wanted).all()
    np.testing.assert_allclose(secure.from_whole(total), sum(values[n] for n in masked), atol=5 * 2.0**-secure.SCALE)


def test_what_arrives_says_nothing_and_less_than_a_majority_opens_nothing():
    values = {number: np.zeros(2000) for number in range(4)}
    public, masked, revealed = round_of(values, [])
    bits = np.unpackbits(np.stack([*masked.values()]).view(np.uint8))
    assert bits.mean() == pytest.approx(0.5, abs=0.005)
    two = {number: revealed[number] for number in (0, 1)}
    with pytest.raises(ValueError, match="2 of 4 members are left, and 3 are needed"):
        secure.unmasked(sum(masked.values()), public, masked.keys(), two)


def test_without_its_own_mask_one_members_numbers_are_hidden_by_those_it_shares():
    """What the coordinator could make of a single member's numbers, as all have revealed its b."""
    public, masked, revealed = round_of({number: np.zeros(2000) for number in range(3)}, [])
    b = secret_shares.join({teller + 1: told[1] for teller, told in revealed.items()})
    bare = masked[1] - secure._mask(secure._bytes(b), 2000)
    assert np.unpackbits(bare.view(np.uint8)).mean() == pytest.approx(0.5, abs=0.005)


def test_of_no_member_both_secrets_are_revealed():
    values = {number: np.zeros(1) for number in range(3)}
    members = {number: secure.Member(number) for number in values}
    public = {number: member.public for number, member in members.items()}
    sealed = {number: member.share_out(public) for number, member in members.items()}
    for number, member in members.items():
        member.masked(secure.to_whole(values[number]), {o: sealed[o][number] for o in sealed if o != number})
    told = members[0].reveal([0, 1])
    assert told.keys() == {0, 1, 2}
    assert members[0].reveal([0, 1, 2]) == {}


def test_changed_shares_are_noticed():
    members = [secure.Member(number) for number in range(3)]
    public = {member.number: member.public for member in members}
    packet = members[1].share_out(public)[0]
    members[0].share_out(public)
    broken = bytes([packet[0] ^ 1]) + packet[1:]
    with pytest.raises(ValueError, match="the shares of member 1 were changed"):
        members[0].masked(np.zeros(1, np.uint64), {1: broken})


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e9])
def test_what_cannot_be_added_up_is_refused(value):
    with pytest.raises(OverflowError):
        secure.to_whole(np.array([0.0, value]))


@settings(max_examples=20)
@given(secret=st.integers(0, secret_shares.PRIME - 1), places=st.integers(1, 6), data=st.data())
def test_any_threshold_of_shares_tells_the_secret(secret, places, data):
    least = data.draw(st.integers(1, places))
    shares = secret_shares.split(secret, least, range(1, places + 1))
    for chosen in combinations(shares, least):
        assert secret_shares.join({place: shares[place] for place in chosen}) == secret
    if least > 1:
        fewer = {place: shares[place] for place in [*shares][: least - 1]}
        assert secret_shares.join(fewer) != secret
