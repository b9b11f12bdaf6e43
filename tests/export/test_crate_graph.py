"""The graph of a run: every step is an action with its tool, times, inputs and outputs."""

from __future__ import annotations

import pytest

from robustft.export.audit_gate import Standing
from robustft.export.crate_graph import RunGraph, article_id, context_entities, refs
from robustft.export.project import citation
from robustft.files import read_json
from robustft.provenance.audit_state import AuditReport
from robustft.provenance.lineage import Lineage


@pytest.fixture
def graph(finished) -> RunGraph:
    """The graph of the whole run, in which each file is an entity of its own path."""
    paths = [path for step in finished.steps.values() for path in (*step.outputs.values(), step.record)]
    return RunGraph(Lineage(finished), Standing(AuditReport("small"), reproduces=False), {path: path for path in paths})


def ids(value) -> list[str]:
    """The identifiers that a property refers to."""
    return [one["@id"] for one in (value if isinstance(value, list) else [value])]


def test_every_step_is_an_action_with_its_tool_times_inputs_and_outputs(finished, graph):
    entities = {entity["@id"]: entity for entity in graph.entities()}
    for step in finished.steps.values():
        job, circumstances = entities[f"#job/{step.kind}/{step.id}"], read_json(step.record)["circumstances"]
        assert job["@type"] == "CreateAction"
        assert entities[ids(job["instrument"])[0]]["@type"] == "SoftwareApplication"
        assert (job["startTime"], job["endTime"]) == (circumstances["started"], circumstances["ended"])
        assert ids(job["result"]) == [*step.outputs.values(), step.record]
        assert ids(job["object"]) == list(step.inputs.values())
        control = entities[f"#control/{step.kind}/{step.id}"]
        assert ids(control["object"]) == [job["@id"]]
        assert entities[ids(control["instrument"])[0]]["@type"] == "HowToStep"
    assert len(ids(entities["#organise"]["object"])) == len(finished.steps)
    assert len(graph.mentions()) == len(finished.steps) + 1


def test_the_run_lasts_from_the_first_start_to_the_last_end(finished, graph):
    circumstances = [read_json(step.record)["circumstances"] for step in finished.steps.values()]
    assert graph.times() == (min(one["started"] for one in circumstances), max(one["ended"] for one in circumstances))


def test_a_step_without_a_record_in_the_crate_is_left_out(finished, graph):
    step = finished.step("train", "toy/main/high/at/seed0")
    places = {path: path for path in graph.places if path != step.record}
    assert step not in RunGraph(graph.lineage, graph.standing, places).steps


def test_every_cited_paper_and_author_is_an_entity():
    cited = citation()
    entities = {entity["@id"]: entity for entity in context_entities(cited)}
    for entry in cited["references"]:
        assert entities[article_id(entry)]["name"] == entry["title"]
    assert f"#author-{len(cited['authors']) - 1}" in entities


def test_a_single_reference_is_no_list():
    assert refs(["a"]) == {"@id": "a"}
    assert refs(["a", "b"]) == [{"@id": "a"}, {"@id": "b"}]
