"""All papers at the smallest scale: one DAG, tables, figures, a verdict for every claim, an audit that passes."""

import json

import yaml

from pipeline.files import ROOT

PAPERS = sorted(path.stem for path in (ROOT / "config" / "papers").glob("*.yaml"))


def test_all_papers_run_from_data_to_verdicts(tools, tmp_path):
    assert len(PAPERS) >= 5
    folder = tools["copy_checkout"](tmp_path / "five", papers="all")
    tools["snakemake"](folder)
    for paper in PAPERS:
        results, config = (
            folder / "results" / "smoke" / paper,
            yaml.safe_load((folder / f"config/papers/{paper}.yaml").read_text()),
        )
        for name in config["tables"]:
            assert (results / "tables" / f"{name}.md").read_text().startswith("**"), (paper, name)
        for name in config["figures"]:
            assert (results / "figures" / f"{name}.svg").stat().st_size > 5000, (paper, name)
        judged = json.loads((results / "verdicts.json").read_text())["verdicts"]
        assert [verdict["id"] for verdict in judged] == [claim["id"] for claim in config["claims"]]
        assert all(verdict["verdict"] for verdict in judged)
    audit = tools["robustft"](folder, "audit", "--scale", "smoke")
    assert audit.returncode == 0, audit.stdout + audit.stderr
    assert "Nothing to be done" in tools["snakemake"](folder, "--dry-run")
