"""Layers: the later one counts, leaf by leaf, and each leaf knows where it comes from."""

from robustft.plan.layers import Layer, Layered, Parts, Place, given, layers_at

PAPER, SCALE = Place("papers/toy", "recipe"), Place("scales/small", "papers.toy.recipe")


def recipe(*values) -> Layered:
    return Layered(*(Layer(place, value) for place, value in zip((PAPER, SCALE), values, strict=True)))


def test_of_two_layers_the_later_one_counts_and_a_list_is_replaced_whole():
    layered = recipe({"lr": 0.1, "epochs": 9, "milestones": [3, 6]}, {"epochs": 2, "milestones": [1]})
    assert layered.value == {"lr": 0.1, "epochs": 2, "milestones": [1]}
    assert layered.places() == {"lr": PAPER / "lr", "epochs": SCALE / "epochs", "milestones": SCALE / "milestones"}


def test_mappings_are_merged_key_by_key_and_no_layer_is_changed():
    first, second = {"tuning": {"rank": 8, "scale": 1.0}}, {"tuning": {"rank": 4}}
    layered = recipe(first, second)
    assert layered["tuning"].value == {"rank": 4, "scale": 1.0}
    assert layered["tuning"].places() == {"rank": SCALE / "tuning" / "rank", "scale": PAPER / "tuning" / "scale"}
    assert layered.value["tuning"] == layered["tuning"].value
    assert first == {"tuning": {"rank": 8, "scale": 1.0}}


def test_a_value_in_the_place_of_a_mapping_replaces_all_that_stood_in_it_and_the_reverse():
    layered = recipe({"tuning": {"rank": 8}}, {"tuning": None})
    assert (layered.value, layered.places()) == ({"tuning": None}, {"tuning": SCALE / "tuning"})
    layered = recipe({"tuning": None}, {"tuning": {"rank": 8}})
    assert layered.places() == {"tuning.rank": SCALE / "tuning" / "rank"}


def test_what_no_layer_gives_is_none_and_comes_from_nowhere():
    nothing = recipe({"lr": 0.1}, {})["epochs"]
    assert (nothing.value, nothing.places()) == (None, {})


def test_a_layer_is_at_a_path_of_keys_or_is_not_there():
    tree = {"papers": {"toy": {"recipe": {"lr": 1}}}}
    assert layers_at("scales/small", tree, "papers", "toy", "recipe") == [Layer(SCALE, {"lr": 1})]
    assert layers_at("scales/small", tree, "papers", "other", "recipe") == []
    assert layers_at("scales/small", tree, "papers", "toy", "recipe", "lr", "deeper") == []


def test_the_elements_of_a_list_come_from_the_place_of_the_list():
    seeds = given("papers/toy", "seeds", [0, 1]).each()
    assert [seed.value for seed in seeds] == [0, 1]
    assert {seed.places()[""] for seed in seeds} == {Place("papers/toy", "seeds")}


def test_parts_have_plain_values_and_the_places_of_what_the_configuration_gives():
    parts = Parts(
        digest="computed",
        seed=given("papers/toy", "seeds", 3),
        attacks=[Parts(name="fgsm", steps=given("attacks", "attacks.fgsm.steps", 1))],
    )
    assert parts.value == {"digest": "computed", "seed": 3, "attacks": [{"name": "fgsm", "steps": 1}]}
    assert parts.places() == {
        "seed": Place("papers/toy", "seeds"),
        "attacks.0.steps": Place("attacks", "attacks.fgsm.steps"),
    }
