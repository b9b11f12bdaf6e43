"""Parts of several documents: closed mappings, kinds of values, layers of optional keys, downloads."""

from __future__ import annotations

import msgspec
import pytest
from msgspec import UNSET

from robustft.config import common
from robustft.config.common import File, Maybe, PartialEvaluation, Recipe, Struct, Threat, partial, require
from tests.toy_config import RECIPE


class Listed(Struct, frozen=True, kw_only=True):
    names: list[str]
    shape: list[int]
    mean: list[float]


class Two(Struct, frozen=True, kw_only=True):
    first: int
    second: Maybe[int] = UNSET


class Around(Struct, frozen=True, kw_only=True):
    inner: Two


@pytest.mark.parametrize(
    ("kind", "valid", "invalid"),
    [
        (common.Name, ["at", "pgd_20"], ["AT", "a-b", ""]),
        (common.Component, ["trades.Trades", "my.lab.nets:Mine"], ["Trades", "a.b.C", "a:b:c", "A.B"]),
        (common.Fraction, ["8/255", "0.2", ".5", 0, 2], [0.2, "1.5/255", "8/0", "-1", -1, "a"]),
        (common.Share, [0, 1], [-0.1, 1.1]),
        (common.Count, [1], [0, True, 1.5, "1"]),
        (common.Shape, [[3, 4, 4]], [[4, 4], [3, 4, 0]]),
        (common.Color, ["#0072B2"], ["black", "#0072B"]),
        (common.Sha256, ["0a" * 32], ["0a" * 31, "0A" * 32]),
        (common.Counts, [[0]], [[]]),
    ],
    ids=lambda value: None,
)
def test_a_kind_of_value_takes_what_it_describes_and_nothing_else(kind, valid, invalid):
    for value in valid:
        assert msgspec.convert(value, kind) == value
    for value in invalid:
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(value, kind)


def test_a_mapping_has_all_of_its_keys_and_no_other():
    for values in ({"norm": "linf"}, {"norm": "linf", "eps": 1, "epsilon": 1}, {"norm": "linf", "eps": None}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(values, Threat)


def test_a_name_twice_in_a_list_is_refused_and_a_number_twice_is_not():
    Listed(names=["a", "b"], shape=[3, 8, 8], mean=[0.5, 0.5])
    with pytest.raises(ValueError, match="'names' has 'a' twice"):
        Listed(names=["a", "b", "a"], shape=[3, 8, 8], mean=[0.5, 0.5])


def test_a_layer_has_the_same_keys_all_optional_however_deep():
    layer = partial(Two)
    assert msgspec.convert({}, layer).first is UNSET
    assert msgspec.convert({"inner": {"second": 2}}, partial(Around)).inner.first is UNSET
    assert msgspec.convert({"threat": {"eps": "1/9"}}, PartialEvaluation).threat.norm is UNSET
    for values in ({"third": 1}, {"first": "1"}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(values, layer)


@pytest.mark.parametrize("change", [{"batch_size": 1}, {"lr": 0}, {"momentum": 1.5}, {"schedule": "cosin"}])
def test_a_recipe_has_its_ranges(change):
    assert msgspec.convert(RECIPE, Recipe).clip_grad_norm is UNSET
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**RECIPE, **change}, Recipe)


def test_one_of_several_choices_of_keys_is_required():
    require(Two(first=1), ("second",), ("first",))
    with pytest.raises(ValueError, match="give 'second' or 'first' with 'second'"):
        require(Two(first=1), ("second",), ("first", "second"))


URLS, MD5 = {"urls": ["https://one/a.tar"]}, {"md5": "0" * 32}


@pytest.mark.parametrize(
    "values",
    [
        {**URLS, **MD5},
        {"manual": "ask", "sha256": "0" * 64},
        {**URLS, "sha256_prefix": "0" * 8},
        {**URLS, "note": "none"},
    ],
)
def test_a_download_has_a_hash_or_a_note_and_an_address_or_a_way(values):
    msgspec.convert({"name": "a.tar", **values}, File)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (URLS, "give a published hash"),
        (MD5, "say where to get it"),
        ({**URLS, **MD5, "name": "../a.tar"}, "name"),
        ({**URLS, **MD5, "size": 1}, "size"),
        ({**MD5, "urls": ["ftp://one/a.tar"]}, "urls"),
        ({**URLS, "sha256_prefix": "0" * 7}, "sha256_prefix"),
    ],
)
def test_a_download_that_cannot_be_had_or_checked_is_refused(values, message):
    with pytest.raises(msgspec.ValidationError, match=message):
        msgspec.convert({"name": "a.tar", **values}, File)
