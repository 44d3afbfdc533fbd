"""The accountant: against the mechanism's divergence by integration, and what has to hold of any."""

import numpy as np
import pytest
from scipy import integrate, stats

from hvdedge.privacy_accountant import ORDERS, _rdp, epsilon


@pytest.mark.parametrize(("noise", "fraction", "order"), [(1.0, 0.1, 2), (2.0, 0.3, 5), (1.2, 0.01, 6), (1.5, 1.0, 4)])
def test_the_divergence_is_that_of_the_two_distributions(noise, fraction, order):
    def integrand(x):
        ratio = (1 - fraction) + fraction * np.exp((2 * x - 1) / (2 * noise**2))
        return stats.norm.pdf(x, 0, noise) * ratio**order

    moment = integrate.quad(integrand, -20, 40, limit=500, points=[0, order])[0]
    assert _rdp(noise, fraction, order) == pytest.approx(np.log(moment) / (order - 1), rel=1e-6)


def test_more_rounds_and_clients_cost_more_and_noise_costs_less():
    base = epsilon(1.0, 0.1, 100, 1e-5)
    assert epsilon(1.0, 0.1, 200, 1e-5) > base > epsilon(1.0, 0.05, 100, 1e-5)
    assert epsilon(2.0, 0.1, 100, 1e-5) < base < epsilon(1.0, 0.1, 100, 1e-7)
    assert epsilon(0.0, 0.1, 100, 1e-5) == np.inf


def test_one_gaussian_sum_costs_no_more_than_the_classic_bound():
    for noise in (2.0, 5.0, 10.0):
        classic = np.sqrt(2 * np.log(1.25 / 1e-5)) / noise  # Dwork and Roth 2014, theorem 3.22
        assert 0.5 * classic < epsilon(noise, 1.0, 1, 1e-5) < 1.2 * classic
    assert (np.diff(ORDERS) > 0).all()
