"""The rules by which training is held to have diverged, or to have come to a plateau."""

import math

import pytest

from hvdedge.divergence import OTHER_ROWS, Course


@pytest.mark.parametrize(
    ("before", "loss", "times", "diverges"),
    [
        ([], 9.1, 4, False),  # four times where it began, 2.3, are 9.2
        ([], 9.3, 4, True),
        ([0.5], 1.9, 4, False),
        ([0.5], 2.1, 4, True),
        ([0.5, 1.5], 1.9, 4, False),  # the best counts, not the last
        ([0.01], 0.9, 4, False),  # but as no less than .23, a tenth of where it began
        ([0.01], 0.93, 4, True),
        ([0.5], 499, OTHER_ROWS, False),
        ([0.5], 501, OTHER_ROWS, True),
        ([0.5], 1e300, math.inf, False),
    ],
)
def test_a_loss_over_some_times_the_best_diverges(before, loss, times, diverges):
    course = Course()
    course.begin(1.8, 2.3)
    for epoch, good in enumerate(before, 1):
        course.improve(epoch, good)
    assert course.has_grown(loss, times) == diverges


def test_a_first_loss_that_is_no_number_counts_as_a_guess():
    course = Course()
    course.begin(math.inf, 2.3)
    assert (course.began, course.best) == (2.3, 2.3)


def test_the_rate_is_halved_three_times_then_it_is_over_unless_it_got_better_between():
    course = Course()
    course.begin(2.3, 2.3)
    assert [course.diverge() for _ in range(4)] == [True, True, True, False]
    assert course.rate_scale == 1 / 16
    course.improve(5, 2.4)
    assert not course.diverge()  # that was no better
    course.improve(7, 2.2)
    assert course.diverge()
    assert course.good_epochs == 7


def test_a_plateau_is_some_epochs_without_a_loss_lower_by_a_thousandth():
    course = Course()
    losses = [1.0, 0.9995, 0.9991, 0.998, 0.9979, 0.9978, 0.9977, 0.9976]
    assert [course.stagnates(loss, 2) for loss in losses] == [False, False, True, False, False, True, False, True]
    assert course.rate_scale == 1 / 8
