"""A scale's document: layers have the keys of what they are laid over, and no other."""

import pytest
from msgspec import UNSET

from robustft.errors import ConfigError


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"papers": {"toy": {"recipe": {"epoch": 1}}}}, "papers.toy.recipe.epoch: unknown key.*'epochs'"),
        ({"papers": {"toy": {"overrides": {"at": {"tuning": {"rank": 1}}}}}}, "unknown key 'rank'"),
        ({"papers": {"toy": {"methods": ["at", "at"]}}}, "'methods' has 'at' twice"),
        ({"papers": {"toy": {"experiments": {"main": {"left_out": ["a"]}}}}}, "unknown key 'left_out'"),
        ({"pretraining": {"low_standard": {"monitor": {"image": 1}}}}, "did you mean 'images'"),
        ({"stand_ins": {"dataset": {}}}, "did you mean 'datasets'"),
        ({"optimizations": {"folded": True}}, "did you mean 'folded_batch_norm'"),
        ({"device": "gpu"}, "device: 'gpu' is not a valid value"),
        ({"resources": {"train": None}}, "resources: the key 'train' is missing"),
        ({"processes": 0}, "processes: 0 is not a valid value"),
    ],
)
def test_a_wrong_key_or_value_is_refused(change, message, document):
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        document("scale", change)


def test_a_layer_may_give_as_little_as_it_likes(document):
    paper = {"recipe": {"lr": 1}, "threat": {"eps": "1/9"}, "evaluations": {"robustness": {"images": 4}}}
    scale = document("scale", {"papers": {"toy": paper}, "pretraining": {"low_standard": {"seed": 1}}}).typed
    found = scale.papers["toy"]
    assert (found.recipe.lr, found.recipe.epochs, found.threat.norm) == (1, UNSET, UNSET)
    assert found.evaluations["robustness"].images == 4
    assert scale.papers["toy"].stand_ins is UNSET


def test_the_defaults_name_a_scale_and_all_papers_or_some(document):
    assert document("config", {"papers": "all"}).typed.papers == "all"
    assert document("config", {"papers": ["toy"]}).typed.papers == ["toy"]
    with pytest.raises(ConfigError, match="papers"):
        document("config", {"papers": "every"})
