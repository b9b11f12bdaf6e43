"""All papers at the smallest scale: one DAG, tables, figures, a verdict for every claim, an audit that passes."""

import json

from robustft.config.load import Config
from robustft.plan import Plan

PLAN = Plan(Config(scale="smoke"))
PAPERS = sorted(PLAN.config.papers)


def test_all_papers_run_from_data_to_verdicts(tools, tmp_path):
    assert len(PAPERS) >= 5
    folder = tools["copy_checkout"](tmp_path / "five", papers="all")
    tools["snakemake"](folder)
    for paper in PAPERS:
        results, config = (
            folder / "results" / "smoke" / paper,
            PLAN.config.papers[paper].values,
        )
        here = PLAN.of_kind("table") + PLAN.of_kind("figure")
        written = [step for step in here if step.id.split("/")[0] == paper]
        assert {step.kind for step in written} == {"table", "figure"}, paper
        # What is about the main experiment is there, but for attacks and evaluations that only scale `paper` runs.
        measured = {evaluation.name for evaluation in PLAN.paper_evaluations(paper)}
        main = {
            name
            for part in ("tables", "figures")
            for name, e in config[part].items()
            if e["experiment"] == "main" and measured & set(e.get("evaluations") or measured)
        }
        missing = main - {step.id.split("/")[1] for step in written}
        assert not [name for name in missing if not name.startswith("strengths_")], (paper, missing)
        for step in written:
            name = step.id.split("/")[1]
            if step.kind == "table":
                assert (results / "tables" / f"{name}.md").read_text().startswith("**"), (paper, name)
            else:
                assert (results / "figures" / f"{name}.svg").stat().st_size > 5000, (paper, name)
        judged = json.loads((results / "verdicts.json").read_text())["verdicts"]
        assert [verdict["id"] for verdict in judged] == [claim["id"] for claim in config["claims"]]
        assert all(verdict["verdict"] for verdict in judged)
    audit = tools["robustft"](folder, "audit", "--scale", "smoke")
    assert audit.returncode == 0, audit.stdout + audit.stderr
    assert "Nothing to be done" in tools["snakemake"](folder, "--dry-run")
