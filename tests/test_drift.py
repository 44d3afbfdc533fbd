"""Drift: rates that stay or fall are none, rates that rise are one, wherever the stream is cut into lines."""

import numpy as np
import pytest

from hvdedge.drift import Drift


def drifts(rates, line, seed=0):
    """Return after how many rows a drift is told, for rows wrong with these rates."""
    wrong = np.random.default_rng(seed).random(len(rates)) < rates
    watch = Drift()
    return [at + line for at in range(0, len(rates), line) if watch.saw(wrong[at : at + line].sum(), line)]


@pytest.mark.parametrize("line", [1, 20])
def test_a_rising_error_rate_is_noticed_soon(line):
    for seed in range(5):
        told = drifts(np.repeat([0.1, 0.5], 1000), line, seed)
        assert len([at for at in told if 1000 < at < 1200]) == 1


@pytest.mark.parametrize("line", [1, 20])
def test_a_rate_that_falls_is_no_drift(line):
    told = [drifts(np.linspace(0.7, 0.05, 3000), line, seed) for seed in range(10)]
    assert sum(map(len, told)) <= 1


def test_a_rate_that_stays_is_seldom_a_drift():
    for rate in (0.0, 0.01, 0.1):
        told = [drifts(np.repeat([rate], 5000), 20, seed) for seed in range(20)]
        assert sum(map(bool, told)) <= 9
    assert drifts(np.repeat([0.0, 1.0, 0.0], [1000, 1, 100]), 20) == []  # one error is none


def test_errors_that_are_off_by_their_last_digit_do_no_harm():
    watch = Drift()
    assert not any(watch.saw(error, 20) for error in [0.0, -1e-7] * 5)
    assert not any(Drift().saw(20 + 1e-6, 20) for _ in range(5))


def test_what_it_knows_goes_on_from_its_state():
    rates, whole, halves = np.repeat([0.1, 0.5], 500), Drift(), Drift()
    wrong = np.random.default_rng(1).random(1000) < rates
    for row, is_wrong in enumerate(wrong):
        if row == 700:
            halves = Drift(halves.state.copy())
        assert whole.saw(is_wrong, 1) == halves.saw(is_wrong, 1)
