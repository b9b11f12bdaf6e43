"""What `snakemake --config` may say, in every form that people type it in."""

from __future__ import annotations

import pytest

from robustft.config.workflow import workflow_settings
from robustft.errors import ConfigError

DEFAULTS = {"scale": "demo", "papers": "all", "optimizations": {}}


@pytest.mark.parametrize(
    ("papers", "names"),
    [
        ("all", "all"),
        ("twins", ["twins"]),
        ("twins,adapt", ["twins", "adapt"]),
        ("[twins, adapt]", ["twins", "adapt"]),
        (["twins"], ["twins"]),
    ],
)
def test_papers_are_a_list_a_word_or_words_with_commas(papers, names):
    assert workflow_settings({**DEFAULTS, "papers": papers}).papers == names


@pytest.mark.parametrize(
    ("value", "offline"),
    [(True, True), ("yes", True), (1, True), (False, False), ("no", False), ("false", False), (0, False)],
)
def test_offline_means_what_it_says(value, offline):
    assert workflow_settings({**DEFAULTS, "offline": value}).offline is offline


def test_without_an_option_the_network_is_used_and_there_is_no_mirror():
    settings = workflow_settings(DEFAULTS)
    assert (settings.scale, settings.mirror, settings.offline) == ("demo", None, False)


@pytest.mark.parametrize(("key", "nearest"), [("scal", "scale"), ("paper", "papers"), ("ofline", "offline")])
def test_an_unknown_key_is_an_error_with_the_nearest(key, nearest):
    with pytest.raises(ConfigError, match=f"no key '{key}'") as error:
        workflow_settings({**DEFAULTS, key: "x"})
    assert f"did you mean '{nearest}'?" in str(error.value)


def test_a_folder_that_snakemake_took_for_a_number_is_an_error_that_says_how_to_write_it():
    with pytest.raises(ConfigError, match="mirror must be a folder") as error:
        workflow_settings({**DEFAULTS, "mirror": 20241010})
    assert "mirror=./NAME" in str(error.value)


def test_a_doubtful_truth_value_is_an_error():
    with pytest.raises(ConfigError, match="offline must be yes or no"):
        workflow_settings({**DEFAULTS, "offline": "maybe"})


def test_seeds_are_a_number_of_them():
    assert workflow_settings(DEFAULTS).seeds is None
    assert [workflow_settings({**DEFAULTS, "seeds": value}).seeds for value in (3, "3")] == [3, 3]
    for value in (0, "-1", "all", [0, 1], True):
        with pytest.raises(ConfigError, match="seeds must be a number of seeds"):
            workflow_settings({**DEFAULTS, "seeds": value})
