"""A method is an objective, or a derivation from other runs, or both."""

import pytest
from msgspec import UNSET

from robustft.errors import ConfigError
from tests.toy_config import AT, method, part

MERGED = part("merging.uniform", defences=["at"])


@pytest.mark.parametrize(
    "parts", [{"implementation": AT}, {"from": ["at"], "derivation": MERGED}, {"implementation": AT, "from": ["at"]}]
)
def test_a_method_is_trained_or_derived_or_both(parts, document):
    found = document("methods", {"methods": {"new": {**method(), **parts}}}).typed.methods["new"]
    assert (found.from_ is UNSET, found.implementation is UNSET) == ("from" not in parts, "implementation" not in parts)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"implementation": None}, "methods.at: give 'implementation' or 'from'"),
        ({"color": "black"}, "'black' is not a valid value.*a colour such as"),
        ({"from_": ["at"]}, "unknown key 'from_'.*did you mean 'from'"),
        ({"from": ["at", "at"]}, "twice"),
        ({"trains_on": "test"}, "trains_on: 'test' is not a valid value"),
        ({"tuning": {"parameters": {}}}, "tuning: the key 'implementation' is missing"),
        ({"recipe": {"epoch": 1}}, "recipe.epoch: unknown key"),
    ],
)
def test_what_is_no_method_is_refused(change, message, document):
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        document("methods", {"methods": {"at": change}})
