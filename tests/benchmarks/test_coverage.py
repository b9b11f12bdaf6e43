"""The intervals of verdicts hold the truth as often as they say: a small part of the simulation."""

import pytest

from benchmarks.coverage import Setting, misses
from robustft.report.statistics import binomial_limit

REPETITIONS = 400


@pytest.mark.parametrize(
    "setting",
    [
        Setting("independent", 100, 0.0),
        Setting("independent", 1000, 0.05),
        Setting("independent", 1000, 0.3),
        Setting("independent", 64, 0.05, left=-1.5, right=-1.4),
        Setting("independent", 64, 0.05, datasets=3),
        Setting("sharing", 100, 0.05),
        Setting("sharing", 1000, 0.3),
        Setting("published", 500, 0.05, whole=500),
        Setting("published", 500, 0.3, whole=500),
        Setting("published", 100, 0.05, whole=500),
    ],
    ids=str,
)
def test_an_interval_misses_the_truth_in_at_most_five_percent(setting):
    """Of 400 that miss 5 % more than 38 miss with a probability of at most one in ten thousand."""
    assert binomial_limit(REPETITIONS, 0.05, 1e-4) == 38
    missed, _ = misses(setting, REPETITIONS)
    assert missed <= 38


def test_intervals_without_any_error_of_seeds_would_miss_more(monkeypatch):
    """The simulation can fail: of models that move by seed, the errors of images alone hold the truth too rarely."""
    monkeypatch.setattr("robustft.report.comparisons.seeds_independent", lambda *_, **__: (0.0, 0))
    from robustft.report import intervals

    monkeypatch.setattr(intervals.Estimate, "half_width", lambda self, error=0.05: 1.96 * self.images)
    missed, _ = misses(Setting("independent", 1000, 0.3), REPETITIONS)
    assert missed > 38
