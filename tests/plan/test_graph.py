"""Steps are added once, after what they read, and looked up by name."""

import pytest

from robustft.errors import ConfigError, RobustftError
from robustft.plan.graph import Graph
from robustft.plan.layers import Parts, Place, given


@pytest.fixture
def graph() -> Graph:
    graph = Graph("small")
    graph.add("data", "digits", Parts(rows=given("datasets", "rows", 9)), inputs={}, outputs={"data": "d"})
    graph.add("train", "run", Parts(seed=0), inputs={"data": "d"}, outputs={"checkpoint": "folder/run.safetensors"})
    return graph


def test_a_step_knows_the_record_that_vouches_for_each_input(graph):
    run, data = graph.step("train", "run"), graph.step("data", "digits")
    assert run.upstream == {"data": data.record}
    assert graph.producer("d") is data
    assert graph.producer("elsewhere") is None


def test_steps_are_in_the_order_in_which_they_were_added(graph):
    assert list(graph.steps) == ["data:digits", "train:run"]
    assert [step.id for step in graph.of_kind("train")] == ["run"]


def test_what_a_step_needs_is_itself_and_all_before_it_in_plan_order(graph):
    data, run = graph.steps.values()
    other = graph.add("train", "other", Parts(), inputs={}, outputs={"checkpoint": "o"})
    assert graph.needed([run]) == [data, run]
    assert graph.needed([other, run]) == [data, run, other]


def test_what_no_earlier_step_writes_cannot_be_read(graph):
    with pytest.raises(KeyError, match="later"):
        graph.add("train", "other", Parts(), inputs={"data": "later"}, outputs={"checkpoint": "c"})


def test_two_steps_of_one_name_are_an_error(graph):
    with pytest.raises(ConfigError, match="two steps are named data:digits"):
        graph.add("data", "digits", Parts(), inputs={}, outputs={"data": "e"})


def test_an_unknown_step_offers_the_nearest(graph):
    assert graph.get("train", "rum") is None
    with pytest.raises(RobustftError, match="did you mean 'run'"):
        graph.step("train", "rum")


def test_the_values_of_a_specification_are_plain_and_their_places_are_kept(graph):
    step = graph.step("data", "digits")
    assert step.spec == {"rows": 9}
    assert graph.places(step) == {"rows": Place("datasets", "rows")}
