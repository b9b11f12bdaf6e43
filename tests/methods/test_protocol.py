from __future__ import annotations

import math

import pytest
import torch

from pipeline.errors import ConfigError
from pipeline.methods.protocol import Loss, build_method
from pipeline.methods.trades import Trades

TRADES = "pipeline.methods.trades:Trades"


def test_the_total_is_the_plain_sum_of_the_terms():
    loss = Loss({"a": torch.tensor(1.5), "b/c": torch.tensor(-0.25)})
    assert loss.total.item() == 1.25


def test_terms_are_grouped_by_what_stands_before_the_slash_in_the_order_of_their_first():
    names = {"frozen/cross_entropy": 1.0, "x": 2.0, "frozen/kl": 4.0, "adaptive/kl": 8.0, "y": 16.0}
    groups = Loss({name: torch.tensor(value) for name, value in names.items()}).groups()
    assert {name: value.item() for name, value in groups.items()} == {"frozen": 5.0, "all": 18.0, "adaptive": 8.0}
    assert list(groups) == ["frozen", "all", "adaptive"]


def test_a_term_that_is_not_a_number_shows_in_the_total():
    assert math.isnan(Loss({"a": torch.tensor(1.0), "b": torch.tensor(math.nan)}).total.item())


def test_a_specification_becomes_the_method_with_its_parameters():
    spec = {"name": "mine", "implementation": TRADES, "parameters": {"beta": 3.0, "attack": "kl"}}
    assert build_method(spec) == Trades(beta=3.0, attack="kl")


def test_an_unknown_parameter_is_an_error_that_names_the_nearest():
    spec = {"name": "mine", "implementation": TRADES, "parameters": {"betta": 3.0, "attack": "kl"}}
    with pytest.raises(ConfigError, match="'mine' has no parameter 'betta'") as error:
        build_method(spec)
    assert "did you mean 'beta'?" in str(error.value)


def test_a_missing_parameter_is_named():
    spec = {"name": "mine", "implementation": TRADES, "parameters": {"beta": 3.0}}
    with pytest.raises(ConfigError, match="'mine' needs the parameter 'attack'"):
        build_method(spec)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"beta": "6.0", "attack": "kl"}, "beta='6.0'.*a number"),
        ({"beta": True, "attack": "kl"}, "beta=True.*a number"),
        ({"beta": 6.0, "attack": "klx"}, "attack='klx'.*'kl', 'cross_entropy'"),
    ],
)
def test_a_parameter_of_another_kind_is_named_with_what_is_valid(parameters, message):
    spec = {"name": "trades", "implementation": "pipeline.methods.trades:Trades", "parameters": parameters}
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        build_method(spec)


def test_a_whole_number_is_a_number():
    spec = {"name": "trades", "implementation": "pipeline.methods.trades:Trades"}
    assert build_method({**spec, "parameters": {"beta": 6, "attack": "kl"}}) == Trades(beta=6.0, attack="kl")
