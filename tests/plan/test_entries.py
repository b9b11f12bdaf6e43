"""The lists of `config/` at one scale: what stands in for what, and the parts of an entry that a step is made of."""

import pytest

from robustft.errors import ConfigError
from robustft.plan.entries import Entries, prompts
from robustft.plan.layers import given
from tests import toy_config


@pytest.fixture
def entries(tmp_path):
    """The lists of the small configuration with some values replaced."""
    return lambda **changes: Entries(toy_config.write(tmp_path / "config", **changes))


def name(value: str):
    return given("papers/toy", "experiments.main", value)


@pytest.mark.parametrize(
    ("dataset", "texts"),
    [
        ({}, None),
        ({"template": "the digit {}", "names": ["five", "six"]}, ["the digit five", "the digit six"]),
        ({"template": "a {}"}, {"template": "a {}"}),
    ],
)
def test_a_data_set_has_a_text_for_each_class_or_the_template_alone(dataset, texts):
    assert prompts(dataset) == texts


def test_a_paper_may_have_stand_ins_of_its_own_in_the_place_of_the_shared_ones(entries):
    shared, own = {"cifar10": "high", "spared": "low"}, {"cifar10": "named"}
    made = entries(scale={"stand_ins": {"datasets": shared}, "papers": {"toy": {"stand_ins": {"datasets": own}}}})
    assert made.stand_ins("toy", "datasets") == own
    assert shared.items() <= made.stand_ins("other", "datasets").items()
    assert (made.override("toy"), made.override("other")) == ({"stand_ins": {"datasets": own}}, {})


@pytest.mark.parametrize(("reproduces", "absent"), [(True, "cars"), (False, None)])
def test_without_a_stand_in_the_papers_own_scale_has_the_original_and_another_leaves_it_out(
    reproduces, absent, entries
):
    made = entries(scale={"reproduces": reproduces, "stand_ins": {"datasets": {"flowers": "named"}}})
    flowers, cars = (made.stand_in("toy", "datasets", name(one)) for one in ("flowers", "cars"))
    assert flowers.value == "named"
    assert flowers.layers[-1].place.path == "stand_ins.datasets.flowers"
    assert (cars and cars.value) == absent


def test_data_sets_of_one_stand_in_are_one(entries):
    made = entries(scale={"stand_ins": {"datasets": {"flowers": "named", "cars": "named"}}})
    names = given("papers/toy", "datasets", ["flowers", "nowhere", "cars", "high"])
    assert [one.value for one in made.datasets("toy", names)] == ["named", "high"]


def test_the_machine_is_the_scales_and_its_optimizations_are_laid_over_the_shared_ones(entries):
    made = entries(scale={"threads": 3, "optimizations": {"needed_tokens": False}})
    machine = {key: layered.value for key, layered in made.machine.items()}
    assert machine == {
        **{"device": "cpu", "threads": 3},
        "optimizations": {**toy_config.OPTIMIZATIONS, "needed_tokens": False},
    }
    places = made.machine["optimizations"].places()
    assert (places["needed_tokens"].file, places["channels_last"].file) == ("scales/small", "config")


def test_a_data_set_has_its_name_the_shape_of_its_source_and_its_texts(entries):
    dataset = entries().dataset(name("named"))
    value, view = dataset.value, toy_config.files()["datasets"]["datasets"]["named"]
    assert value == {"name": "named", "shape": [1, 8, 8], **view, "prompts": ["the digit five", "the digit six"]}
    assert dataset.places()["shape"].path == "sources.digits.shape"
    assert "prompts" not in dataset.places()


def test_a_backbone_is_what_defines_its_model_and_no_title(entries):
    backbone = entries().backbone(name("tiny"))
    assert set(backbone.value) == {"name", "implementation", "parameters", "normalisation"}


def test_an_attack_has_the_scales_values_over_its_own_and_no_checks(entries):
    pgd2 = {"threat": {"norm": "l2", "eps": "1/2"}, "checks": {"not_weaker_than": ["fgsm"]}}
    scale = {"attacks": {"pgd2": {"threat": {"eps": "2"}, "steps": 7}}}
    value = entries(attacks={"attacks": {"pgd2": pgd2}}, scale=scale).attack(name("pgd2")).value
    assert (value["name"], value["threat"], value["steps"]) == ("pgd2", {"norm": "l2", "eps": "2"}, 7)
    assert "checks" not in value
    assert "threat" not in entries().attack(name("fgsm")).value


def test_an_entry_is_made_once_for_each_place_that_names_it(entries):
    made = entries()
    assert made.attack(name("fgsm")) is made.attack(name("fgsm"))
    other = given("scales/small", "pretraining.low.monitor.attack", "fgsm")
    assert made.attack(other).places()["name"] == other.layers[-1].place


@pytest.mark.parametrize(
    ("kind", "misspelt", "message"),
    [
        ("dataset", "hihg", r"unknown data set 'hihg'.*datasets\.yaml.*did you mean 'high'"),
        ("backbone", "tyni", r"unknown backbone 'tyni'.*papers/toy/paper\.yaml.*did you mean 'tiny'"),
        ("attack", "fgms", r"unknown attack 'fgms'.*papers/toy/paper\.yaml.*did you mean 'fgsm'"),
    ],
)
def test_an_unknown_name_is_an_error_with_its_place_and_the_nearest(kind, misspelt, message, entries):
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        getattr(entries(), kind)(name(misspelt))
