"""The graph of a run in an RO-Crate, in the terms of the profile Provenance Run Crate.

The package `rocrate` writes files and their metadata, but has no actions, tools or steps of a run.
The Snakefile is the workflow, each kind of step is a tool that it calls, and each job is a CreateAction of that tool.
A ControlAction connects a job to its step in the workflow, and an OrganizeAction connects all of them to Snakemake.
See https://www.researchobject.org/workflow-run-crate/profiles/0.5/provenance_run_crate/
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from robustft.export.audit_gate import Standing
from robustft.export.project import author_name
from robustft.plan.step import ENTRIES, Step
from robustft.provenance.facts import code_fact, environment_facts, facts_of
from robustft.provenance.lineage import Lineage

PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/provenance/0.5": ("Provenance Run Crate", "0.5"),
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": ("Workflow RO-Crate", "1.0"),
}
TERMS = {
    name: f"https://w3id.org/ro/terms/workflow-run#{name}"
    for name in ("sha256", "ContainerImage", "SIFImage", "containerImage", "resourceUsage")
}
"""Terms that RO-Crate 1.1 lacks. They are in the crate itself, so its reader needs no second context."""

ENGINE, OPERATOR, RUN, LICENCE = (
    "https://snakemake.readthedocs.io",
    "#operator",
    "#run",
    "https://spdx.org/licenses/Apache-2.0",
)

Entity = dict[str, Any]


def ref(id: str) -> dict[str, str]:
    """Return a reference to an entity."""
    return {"@id": id}


def refs(ids: Iterable[str]) -> dict[str, str] | list[dict[str, str]]:
    """Return references to entities; a single reference is no list, as RO-Crate requires."""
    references = [ref(id) for id in ids]
    return references[0] if len(references) == 1 else references


def action_id(step: Step) -> str:
    """Return the identifier of the CreateAction of a step."""
    return f"#job/{step.kind}/{step.id}"


def context_entities(cited: dict[str, Any]) -> list[Entity]:
    """Return the entities around the run: profiles, licence, operator, authors and cited papers."""
    entities: list[Entity] = [
        {"@id": id, "@type": "CreativeWork", "name": name, "version": version}
        for id, (name, version) in PROFILES.items()
    ]
    entities.append({"@id": LICENCE, "@type": "CreativeWork", "name": cited["license"], "url": LICENCE})
    entities.append(
        {
            "@id": OPERATOR,
            "@type": "Organization",
            "name": "whoever ran the workflow",
            "description": "Records name machines, not people.",
        }
    )
    for place, author in enumerate(cited["authors"]):
        kind = "Organization" if "name" in author else "Person"
        entities.append({"@id": f"#author-{place}", "@type": kind, "name": author_name(author)})
    return entities + [_article(entry) for entry in cited["references"]]


def article_id(entry: dict[str, Any]) -> str:
    """Return the address of a paper of CITATION.cff."""
    numbers = [one["value"] for one in entry["identifiers"] if one["value"].startswith("arXiv:")]
    return f"https://arxiv.org/abs/{numbers[0].removeprefix('arXiv:')}"


def _article(entry: dict[str, Any]) -> Entity:
    authors = ", ".join(author_name(author) for author in entry["authors"])
    return {
        "@id": article_id(entry),
        "@type": "ScholarlyArticle",
        "name": entry["title"],
        "datePublished": str(entry["year"]),
        "description": f"{authors}; {entry.get('collection-title') or entry.get('journal')}",
    }


class RunGraph:
    """The entities of one run; `places` has the entity of each file that a step read or wrote."""

    def __init__(self, lineage: Lineage, standing: Standing, places: dict[str, str]) -> None:
        self.lineage, self.standing, self.places = lineage, standing, places
        self.steps = [step for step in lineage.plan.steps.values() if self._recorded(step)]
        self.kinds = [kind for kind in ENTRIES if any(step.kind == kind for step in self.steps)]

    def _recorded(self, step: Step) -> bool:
        return step.record in self.places

    def entities(self) -> list[Entity]:
        """Return tools, images, jobs with their steps, and the actions that connect them."""
        jobs = [entity for step in self.steps for entity in (self._job(step), self._control(step))]
        return [*self._tools(), *self._images(), *jobs, self._run(), self._organise(), self._root_hash()]

    def workflow(self) -> dict[str, Any]:
        """Return the properties of the Snakefile."""
        return {
            "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"],
            "name": "robustft",
            "version": ", ".join(self._observed("git", "commit")),
            "license": ref(LICENCE),
            "encodingFormat": "text/plain",
            "conformsTo": ref("https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"),
            "hasPart": refs(f"#tool/{kind}" for kind in self.kinds),
            "step": refs(f"#step/{kind}" for kind in self.kinds),
        }

    def mentions(self) -> list[dict[str, str]]:
        """Return references to the whole run and to each job."""
        return [ref(RUN), *(ref(action_id(step)) for step in self.steps)]

    def times(self) -> tuple[str, str]:
        """Return the start of the first job and the end of the last one."""
        all_circumstances = [self.lineage.record(step).values["circumstances"] for step in self.steps]
        return min(one["started"] for one in all_circumstances), max(one["ended"] for one in all_circumstances)

    def _refs(self, paths: Iterable[str]) -> dict[str, str] | list[dict[str, str]]:
        return refs(self.places[path] for path in paths if path in self.places)

    def _observed(self, part: str, key: str) -> list[str]:
        """Return the values of a key in the steps' environments, each once."""
        values = {str(self.lineage.record(step).values["environment"][part].get(key)) for step in self.steps}
        return sorted(values)

    def _tools(self) -> list[Entity]:
        commits, engine = ", ".join(self._observed("git", "commit")), ", ".join(self._observed("packages", "snakemake"))
        entities: list[Entity] = [
            {
                "@id": ENGINE,
                "@type": "SoftwareApplication",
                "name": "Snakemake",
                "softwareVersion": engine,
                "url": "https://snakemake.readthedocs.io",
            }
        ]
        for place, kind in enumerate(self.kinds, start=1):
            about = {"name": f"robustft {kind}", "description": f"{ENTRIES[kind]}, in a process of its own or a bundle"}
            tool = {"@id": f"#tool/{kind}", "@type": "SoftwareApplication", **about, "softwareVersion": commits}
            step = {"@id": f"#step/{kind}", "@type": "HowToStep", "name": kind, "position": str(place)}
            entities += [tool, {**step, "workExample": ref(f"#tool/{kind}")}]
        return entities

    def _images(self) -> list[Entity]:
        images: dict[str, Entity] = {}
        for step in self.steps:
            image = self.lineage.record(step).values["environment"]["image"]
            if image is not None:
                description = "; ".join(f"{key} {value}" for key, value in sorted(image.items()))
                images[str(image["name"])] = {
                    "@id": f"#image/{image['name']}",
                    "@type": "ContainerImage",
                    "additionalType": ref(TERMS["SIFImage"]),
                    "name": str(image["name"]),
                    "description": description,
                }
        return list(images.values())

    def _job(self, step: Step) -> Entity:
        values = self.lineage.record(step).values
        circumstances, image = values["circumstances"], values["environment"]["image"]
        outputs = [*step.outputs.values(), step.record]
        job = {
            "@id": action_id(step),
            "@type": "CreateAction",
            "name": f"{step.kind} {step.id}",
            "description": self._account(step),
            "instrument": ref(f"#tool/{step.kind}"),
            "object": self._refs(step.inputs.values()),
            "result": self._refs(outputs),
            "startTime": circumstances["started"],
            "endTime": circumstances["ended"],
            "agent": ref(OPERATOR),
            "actionStatus": "http://schema.org/CompletedActionStatus",
        }
        return {**job, "containerImage": ref(f"#image/{image['name']}")} if image else job

    def _account(self, step: Step) -> str:
        """Return the facts of a step, each with the origin of its values, as one text."""
        values = self.lineage.record(step).values
        facts = (*facts_of(step, self.lineage), code_fact(values), *environment_facts(values["environment"]))
        texts = [f"{one.label}: {one.text}" + (f" [{one.origin}]" if one.origin else "") for one in facts]
        return ". ".join([*texts, f"Specification: SHA-256 {values['step']['spec_sha256']}"])

    def _control(self, step: Step) -> Entity:
        return {
            "@id": f"#control/{step.kind}/{step.id}",
            "@type": "ControlAction",
            "name": f"Snakemake ran {step.kind} {step.id}",
            "instrument": ref(f"#step/{step.kind}"),
            "object": ref(action_id(step)),
        }

    def _run(self) -> Entity:
        started, ended = self.times()
        ends = [
            step
            for step in self.steps
            if step.kind in ("numbers", "verdicts", "table", "deviations", "figure", "manifest")
        ]
        results = [path for step in ends for path in step.outputs.values()]
        return {
            "@id": RUN,
            "@type": "CreateAction",
            "name": f"robustft at scale {self.lineage.plan.scale}",
            "description": f"{self.standing.meaning} {self.standing.verdict}. Root {self.standing.root}.",
            "instrument": ref("Snakefile"),
            "object": self._refs(path for path in self.places if path.startswith("config/")),
            "result": self._refs(results),
            "startTime": started,
            "endTime": ended,
            "agent": ref(OPERATOR),
            "actionStatus": "http://schema.org/CompletedActionStatus",
        }

    def _organise(self) -> Entity:
        started, ended = self.times()
        return {
            "@id": "#organise",
            "@type": "OrganizeAction",
            "name": "Snakemake's run of the workflow",
            "instrument": ref(ENGINE),
            "object": refs(f"#control/{step.kind}/{step.id}" for step in self.steps),
            "result": ref(RUN),
            "agent": ref(OPERATOR),
            "startTime": started,
            "endTime": ended,
        }

    def _root_hash(self) -> Entity:
        return {
            "@id": "#root",
            "@type": "PropertyValue",
            "name": "root",
            "propertyID": "https://w3id.org/ro/terms/workflow-run#sha256",
            "value": self.standing.root,
            "description": "One SHA-256 over the hashes of all records; quote or sign it.",
        }
