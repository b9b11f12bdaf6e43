"""A misspelt component or parameter fails when configuration is read, with file and line."""

import pytest

from robustft.errors import ConfigError
from tests import toy_config

TRADES = "robustft.methods.trades:Trades"


def method(**parameters):
    return {"methods": {"mine": toy_config.method("trades.Trades", parameters=parameters)}}


def test_short_names_are_full_ones_in_what_is_read(tmp_path):
    config = toy_config.write(tmp_path / "config", paper=method(beta=6.0, attack_loss="kl"))
    assert config.methods("toy")["mine"]["implementation"] == TRADES


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (method(betta=6.0, attack_loss="kl"), r"methods.mine.parameters.betta: 'Trades' has no.*line \d+.*'beta'"),
        (method(beta=6.0), r"methods.mine.implementation: 'Trades' needs the parameter 'attack_loss'.*line \d+"),
        (method(beta="6", attack_loss="kl"), r"cannot take beta='6'.*line \d+.*a number"),
        (method(beta=6.0, attack_loss="kll"), r"attack_loss='kll'.*one of 'kl', 'cross_entropy'"),
        ({"methods": {"mine": toy_config.method("trade.Trades")}}, r"no module 'trade'.*'trades'"),
        ({"methods": {"mine": toy_config.method("trades.Trade")}}, r"has no 'Trade'.*did you mean 'Trades'"),
        ({"methods": {"partial": {"tuning": {"parameters": {"frosen": []}}}}}, r"no parameter 'frosen'.*'frozen'"),
    ],
)
def test_a_misspelt_component_or_parameter_is_an_error(change, message, tmp_path):
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        toy_config.write(tmp_path / "config", paper=change)


def test_a_layer_of_a_scale_or_experiment_is_checked_against_the_method(tmp_path):
    wrong = {"overrides": {"partial": {"tuning": {"parameters": {"frosen": []}}}}}
    for change in (
        {"scale": {"papers": {"toy": wrong}}},
        {"paper": {"experiments": {"main": wrong}}},
    ):
        with pytest.raises(ConfigError, match=r"(?s)partial.tuning.parameters.frosen.*'Partial' has no.*line \d+"):
            toy_config.write(tmp_path / "config", **change)
