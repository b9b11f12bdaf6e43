"""The plan as a whole: every step once, stable identities, and no torch."""

import subprocess
import sys

import pytest

from robustft.config import Config
from robustft.files import ROOT
from robustft.plan import Plan


def test_the_demo_holds_every_method_of_every_paper_unless_the_scale_says_otherwise(demo):
    for name, document in demo.config.papers.items():
        override = demo.config.scale["papers"].get(name, {})
        for experiment, values in document.values["experiments"].items():
            runs = {(run.method, run.seed) for run in demo.runs if (run.paper, run.experiment) == (name, experiment)}
            if not runs:  # left out by name, or for want of a stand-in: never a paper's main experiment
                assert experiment not in ("main", "control")
                continue
            methods = [method for method in values["methods"] if method in override.get("methods", values["methods"])]
            assert {method for method, _ in runs} == set(methods), f"{name}/{experiment}"
            seeds = override.get("experiments", {}).get(experiment, {}).get("seeds", override.get("seeds"))
            wanted = [seed for seed in values["seeds"] if seeds is None or seed in seeds]
            assert {seed for _, seed in runs} == set(wanted[: demo.config.seeds]), f"{name}/{experiment}"


@pytest.mark.parametrize("which", ["demo", "plan"])
def test_each_step_reads_what_an_earlier_step_writes(which, request):
    plan = request.getfixturevalue(which)
    made: set[str] = set()
    for step in plan.steps.values():
        assert set(step.inputs.values()) <= made, step.key
        assert set(step.upstream) == set(step.inputs)
        made |= set(step.outputs.values())
    paths = [path for step in plan.steps.values() for path in (*step.outputs.values(), step.record)]
    assert len(paths) == len(set(paths)), "two steps write one file"


def test_equal_configuration_gives_equal_digests(demo):
    again = Plan(Config(scale="demo"))
    assert {k: s.digest for k, s in demo.steps.items()} == {k: s.digest for k, s in again.steps.items()}


@pytest.mark.parametrize("which", ["demo", "plan"])
def test_digests_tell_runs_apart(which, request):
    digests = [step.digest for step in request.getfixturevalue(which).steps.values()]
    assert len(digests) == len(set(digests))


def test_planning_auditing_and_reporting_never_import_torch():
    modules = [
        *(
            "robustft.plan",
            "robustft.cost",
            "robustft.cli.parser",
            "robustft.provenance.audit",
            "robustft.provenance.explain",
        ),
        *(
            "robustft.provenance.run",
            "robustft.provenance.bundle",
            "robustft.report.numbers",
            "robustft.report.tables",
            "robustft.report.verdicts",
        ),
        *("robustft.report.figures.step", "robustft.report.figures.twins_diagnostics", "robustft.data.step"),
    ]
    code = (
        f"import sys, importlib\nfor m in {modules!r}:\n    importlib.import_module(m)\nprint('torch' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"
