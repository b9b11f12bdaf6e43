"""The page of a paper's deviations."""

from robustft.report.deviations import deviations
from robustft.runtime.context import Context

SPEC = {
    "scale": "demo",
    "reproduces": False,
    "paper": "p",
    "title": "A Paper",
    "deviations": [
        {"key": "a", "text": "KL(p || q) is a mean", "tables": ["main", "gap"]},
        {"key": "b", "text": "not run", "tables": []},
    ],
}


def test_the_page_has_every_deviation_and_the_tables_that_it_touches(tmp_path):
    outputs = {kind: tmp_path / f"deviations.{kind}" for kind in ("md", "html")}
    deviations(SPEC, Context({}, outputs, tmp_path))
    lines = outputs["md"].read_text(encoding="utf-8").splitlines()
    assert lines[0] == "**Deviations from A Paper**"
    assert r"| a | KL(p \|\| q) is a mean | main, gap |" in lines
    assert "| b | not run | none at this scale |" in lines
    assert "KL(p || q) is a mean</td>" in outputs["html"].read_text(encoding="utf-8")
