"""The job file: what the planner writes is what the job runs, and nothing else is run."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from robustft.config.load import Config
from robustft.errors import IntegrityError
from robustft.plan import Plan
from robustft.plan.step import Bundle, Step
from robustft.provenance.job import job_path, read_job, write_jobs, write_missing_jobs


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Plan(Config(scale="smoke"))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def step(plan) -> Step:
    return plan.step("table", "twins/main")


def written(work: Step | Bundle) -> Path:
    write_jobs([work], "smoke")
    return job_path(work, "smoke")


@pytest.mark.parametrize("scale", ["smoke", "paper"])
def test_every_step_and_bundle_comes_back_as_it_was_planned(scale):
    plan = Plan(Config(scale=scale))
    works = [*plan.steps.values(), *plan.bundles()]
    write_jobs(works, scale)
    jobs = [read_job(job_path(work, scale)) for work in works]
    assert jobs == works
    assert str(jobs) == str(works)  # the order of keys, too: a step's record lies beside its first output


def test_a_file_with_the_same_content_is_not_written_again_and_another_one_is(step):
    path = written(step)
    before = path.stat()
    assert written(step).stat() == before
    path.write_text("edited")
    assert read_job(written(step)) == step


def test_settings_change_the_file_and_not_its_name(step):
    path = written(step)
    other = replace(step, settings={"save_every_steps": 7})
    assert written(other) == path
    assert read_job(path) == other


def test_two_scales_with_one_digest_have_a_file_each(step):
    write_jobs([step], "smoke")
    other = replace(step, outputs={"md": "results/demo/table.md"})
    write_jobs([other], "demo")
    assert [read_job(job_path(step, scale)) for scale in ("smoke", "demo")] == [step, other]


def test_a_machine_that_sees_no_job_files_writes_them_and_one_that_does_leaves_them(plan, step):
    path = written(step)
    path.write_text("of the one that planned")
    write_missing_jobs(plan.steps.values(), "smoke")
    assert path.read_text() == "of the one that planned"
    assert len(list(path.parent.iterdir())) == len(plan.steps)


def rewritten(path: Path, edit) -> None:
    content = json.loads(path.read_text())
    edit(content["job"])
    text = json.dumps(content["job"], separators=(",", ":"), ensure_ascii=False)
    content["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (Path.unlink, "the job file is missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:-40]), "the job file is damaged"),
        (lambda path: path.write_bytes(b"\xff"), "the job file is damaged"),
        (lambda path: path.write_text("[]"), "the job file is damaged"),
        (lambda path: path.write_text(path.read_text().replace("twins/main", "twins/mine")), "was edited"),
        (lambda path: path.write_text(path.read_text().replace("tables/main.md", "tables/x.md")), "was edited"),
        (lambda path: rewritten(path, lambda job: job["steps"][0]["spec"].update(rows=[])), "holds another job"),
        (lambda path: rewritten(path, lambda job: job.update(schema="robustft-job-0")), "of another version"),
        (lambda path: rewritten(path, lambda job: job["steps"][0].pop("outputs")), "no job file"),
        (lambda path: rewritten(path, lambda job: job.update(steps=[])), "no job file"),
    ],
)
def test_a_file_that_is_not_the_planners_is_refused_with_what_where_and_what_to_do(step, damage, message):
    path = written(step)
    damage(path)
    with pytest.raises(IntegrityError, match=message) as error:
        read_job(path)
    for part in (str(path), "expected:", "observed:", "start snakemake again"):
        assert part in str(error.value)


def test_the_file_of_another_step_is_refused_under_this_ones_name(plan, step):
    path = written(step)
    path.write_bytes(written(plan.step("table", "adapt/main")).read_bytes())
    with pytest.raises(IntegrityError, match="holds another job"):
        read_job(path)
