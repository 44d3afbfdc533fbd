"""Drift: whether a stream's labels have come to follow other rules, by the errors of a model on what comes next.

The error rate p of n rows varies by s = sqrt(p (1 - p) / n). A model that learns errs less and less; where p + s is
three s above the least that was seen, what it learnt no longer holds.

Source: Gama, Medas, Castillo and Rodrigues 2004, Learning with drift detection (DDM).
"""

import math

import numpy as np

LEAST_ROWS = 30  # before that, rates say nothing
DRIFT = 3.0  # deviations


class Drift:
    """Watches the errors of a stream.

    Attributes:
        state: all that it knows, float64, so that a checkpoint can keep it: rows, errors, the least p + s, its p and s.
    """

    def __init__(self, state: np.ndarray | None = None):
        self.state = np.zeros(5) if state is None else state
        if state is None:
            self._forget()

    def saw(self, errors: float, rows: float) -> bool:
        """Take in `rows` more rows of which so many were wrong; return whether there is a drift, then begin anew."""
        self.state[:2] += rows, min(max(errors, 0.0), rows)  # weighted sums may be off by their last digit
        count, wrong, least, p_least, s_least = self.state
        if count < LEAST_ROWS:
            return False
        p = (wrong + 1) / (count + 2)  # no rate is 0, else the first error would be a drift
        s = math.sqrt(p * (1 - p) / count)
        if p + s <= least:
            self.state[2:] = p + s, p, s
        elif p + s > p_least + DRIFT * s_least:
            self._forget()
            return True
        return False

    def _forget(self) -> None:
        self.state[:] = 0, 0, math.inf, 0, 0
