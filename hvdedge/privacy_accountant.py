"""How much the weights tell of one client, after rounds of sums with Gaussian noise: epsilon at a delta.

    rdp(a) = 1 / (a - 1) * log sum over k of C(a, k) (1 - q)^(a - k) q^k exp((k^2 - k) / (2 noise^2))     a round
    epsilon = least over a of  rounds * rdp(a) + log((a - 1) / a) - (log delta + log a) / (a - 1)

for clients of which each takes part with probability q, and noise of `noise` times the bound of a client's update.

Source: Mironov, Talwar and Zhang 2019, Renyi differential privacy of the sampled Gaussian mechanism (whole orders);
Canonne, Kamath and Steinke 2020, The discrete Gaussian for differential privacy (from Renyi's to epsilon and delta).
"""

import numpy as np

ORDERS = np.array([*range(2, 65), *range(66, 129, 2), *range(136, 513, 8), 1024, 2048])


def epsilon(noise: float, fraction: float, rounds: int, delta: float) -> float:
    """Return epsilon; infinite without noise.

    Args:
        noise: the standard deviation of what is added to the sum, in bounds of one client's update.
        fraction: the probability with which a client takes part in a round.
    """
    if not noise:
        return float("inf")
    rdp = np.array([_rdp(noise, fraction, int(order)) for order in ORDERS])
    found = rounds * rdp + np.log1p(-1 / ORDERS) - (np.log(delta) + np.log(ORDERS)) / (ORDERS - 1)
    return float(max(found.min(), 0.0))


def _rdp(noise: float, fraction: float, order: int) -> float:
    if fraction == 1:
        return order / (2 * noise**2)
    from scipy.special import gammaln, logsumexp  # here, as only private training needs it

    k = np.arange(order + 1)
    chosen = gammaln(order + 1) - gammaln(k + 1) - gammaln(order - k + 1)
    terms = chosen + (order - k) * np.log1p(-fraction) + k * np.log(fraction) + (k * k - k) / (2 * noise**2)
    return float(logsumexp(terms) / (order - 1))
