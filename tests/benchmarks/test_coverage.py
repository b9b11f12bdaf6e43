"""The intervals of verdicts hold the truth as often as they say: a small part of the simulation."""

import pytest

from benchmarks.coverage import Setting, misses
from robustft.files import ROOT
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


def test_of_two_methods_with_very_unequal_spreads_an_interval_misses_more():
    """With a spread six times the other one's, four degrees of freedom are too many: about 11 % miss."""
    limit = binomial_limit(REPETITIONS, 0.12, 1e-4)
    missed, _ = misses(Setting("independent", 1000, 0.05, right_seed_sd=0.3), REPETITIONS)
    assert binomial_limit(REPETITIONS, 0.05, 1e-2) < missed <= limit


def test_intervals_without_any_error_of_seeds_would_miss_more(monkeypatch):
    """The simulation can fail: of models that move by seed, the errors of images alone hold the truth too rarely."""
    monkeypatch.setattr("robustft.report.comparisons.seeds_independent", lambda *_, **__: (0.0, 0))
    from robustft.report import intervals

    monkeypatch.setattr(intervals.Estimate, "half_width", lambda self, error=0.05: 1.96 * self.images)
    missed, _ = misses(Setting("independent", 1000, 0.3), REPETITIONS)
    assert missed > 38


def test_the_page_on_verdicts_shows_the_kept_simulation():
    """Its seeds are fixed, so a row of the table can be worked out again."""
    kept = (ROOT / "benchmarks/results/coverage.txt").read_text()
    assert f"```\n{kept}```" in (ROOT / "docs/verdicts.md").read_text()
    missed, width = misses(Setting("independent", 64, 0.0), 1000)
    assert kept.splitlines()[1].split()[-2:] == [f"{1 - missed / 1000:.4f}", f"{100 * width:.2f}"]
