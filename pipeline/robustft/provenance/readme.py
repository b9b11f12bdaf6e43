"""Numbers in the README: each one is in a block that is bound to a file of docs/; any other number is a finding.

A block looks like `<!-- robustft:begin docs/demo/twins/tables/main.md -->` ... `<!-- robustft:end -->`. The text
between the two lines equals the file. docs/ holds a snapshot of one run with its numbers, so its tables can be rendered
again.
"""

from __future__ import annotations

import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from robustft.files import ROOT, read_json, require_checkout, write_json, write_text
from robustft.plan import Plan
from robustft.provenance.roots import manifest_records, root_over
from robustft.report import formats, tables
from robustft.report.summary import summary

BLOCK = re.compile(r"(<!-- robustft:begin (\S+) -->\n)(.*?)(<!-- robustft:end -->)", re.DOTALL)
LOOSE_NUMBER = re.compile(r"\d+(?:\.\d+)?\s?%|\d+(?:\.\d+)?\s±")
"""A number that reads as a result: a percentage or a mean with a spread."""

PAGES = ("README.md", "docs/papers.md")
"""The pages whose numbers are bound."""

SNAPSHOT_FORMAT = 2
"""The form of a snapshot's numbers and table specifications. One of another form cannot be rendered again."""


def snapshot_folder(scale: str) -> Path:
    """Return the folder of a scale's snapshot."""
    return ROOT / "docs" / scale


def update_readme(plan: Plan) -> str:
    """Copy the plan's tables, figures, verdicts and numbers to docs/<scale>/ and fill the README's blocks.

    Raises RobustftError if the scale has not been run to its end.
    """
    require_checkout("readme")
    root = root_over(manifest_records(plan))
    folder = snapshot_folder(plan.scale)
    shutil.rmtree(folder, ignore_errors=True)
    results = f"results/{plan.scale}"
    for step in (step for kind in ("verdicts", "table", "deviations", "figure") for step in plan.of_kind(kind)):
        for role, path in step.outputs.items():
            if role in ("md", "csv", "svg", "caption") or (step.kind, role) == ("verdicts", "json"):
                target = folder / Path(path).relative_to(results)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
        if step.kind == "table":
            write_json(folder / Path(step.outputs["md"]).relative_to(results).with_suffix(".spec.json"), step.spec)
    for step in plan.of_kind("numbers"):
        path = step.outputs["numbers"]
        write_json(folder / Path(path).relative_to(results), _without_passed_checks(read_json(path)))
    papers = [step.id for step in plan.of_kind("numbers")]
    write_text(folder / "summary.md", formats.to_markdown(summary(folder, papers, scale=plan.scale)))
    write_json(folder / "root.json", {"format": SNAPSHOT_FORMAT, "scale": plan.scale, "root": root})
    for page in filter(Path.is_file, (ROOT / name for name in PAGES)):
        text = page.read_text(encoding="utf-8")
        write_text(page, BLOCK.sub(lambda m: m[1] + (ROOT / m[2]).read_text(encoding="utf-8") + m[4], text))
    return f"docs/{plan.scale} and README.md hold the numbers of root {root}"


def _without_passed_checks(numbers: dict[str, Any]) -> dict[str, Any]:
    """Return a paper's numbers with the failed sanity checks only: a snapshot in git should be small."""
    measurements = [
        {**measurement, "checks": [check for check in measurement["checks"] if not check["ok"]]}
        for measurement in numbers["measurements"]
    ]
    return {**numbers, "measurements": measurements}


Finding = tuple[str, str, str]
"""Code, subject and text of a finding."""


def readme_findings(counts: Counter[str], root: Path = ROOT) -> list[Finding]:
    """Return a finding for each block of a page that is not its file, and for each number outside a block."""
    if not (root / PAGES[0]).is_file():
        return []
    findings = []
    for page in filter(Path.is_file, (root / name for name in PAGES)):
        text = page.read_text(encoding="utf-8")
        for _, name, body, _ in BLOCK.findall(text):
            counts["README blocks"] += 1
            source = root / name
            if not source.is_file():
                findings.append(("unbound-readme", name, f"{page.name} shows a block of a file that does not exist"))
            elif (expected := source.read_text(encoding="utf-8")) != body:
                findings.append(("edited-readme", name, _first_difference(expected, body, page=page.name)))
        for number in LOOSE_NUMBER.findall(BLOCK.sub("", text)):
            findings.append(("unbound-readme", number.strip(), f"a number in {page.name} is bound to no result file"))
    return findings + _summary_findings(root) + _table_findings(root)


def _first_difference(expected: str, observed: str, *, page: str = "the README", source: str = "the file") -> str:
    for ours, theirs in zip(expected.splitlines(), observed.splitlines(), strict=False):
        if ours != theirs:
            return f"{page} has '{theirs}', {source} has '{ours}'"
    return "lines were added or removed"


def readme_notes(root: Path = ROOT) -> list[str]:
    """Return a note for each snapshot of another version of this project: it is shown, and not rendered again."""
    return [
        f"docs/{folder.name} is a snapshot of another version: its tables are not made again from its numbers;"
        f" robustft readme --scale {folder.name} renews it"
        for folder in _snapshots(root, current=False)
    ]


def _snapshots(root: Path, *, current: bool) -> list[Path]:
    """Return the folders of the snapshots of this version, or of other versions."""
    files = sorted(root.glob("docs/*/root.json"))
    return [path.parent for path in files if (read_json(path).get("format") == SNAPSHOT_FORMAT) == current]


def _summary_findings(root: Path) -> list[Finding]:
    """Make the summaries of docs/ again from the numbers and verdicts beside them."""
    findings = []
    summaries = (folder / "summary.md" for folder in _snapshots(root, current=True))
    for path in filter(Path.is_file, summaries):
        papers = [numbers.parent.name for numbers in sorted(path.parent.glob("*/numbers.json"))]
        expected = formats.to_markdown(summary(path.parent, papers, scale=path.parent.name))
        observed = path.read_text(encoding="utf-8")
        if observed != expected:
            text = _first_difference(expected, observed, page="the summary")
            findings.append(("edited-docs", str(path.relative_to(root)), text))
    return findings


def _table_findings(root: Path) -> list[Finding]:
    """Make the tables of docs/ again from the numbers beside them."""
    findings = []
    specs = (path for folder in _snapshots(root, current=True) for path in sorted(folder.glob("*/tables/*.spec.json")))
    for spec_path in specs:
        numbers = read_json(spec_path.parents[1] / "numbers.json")
        try:
            grid = tables.build_grid(read_json(spec_path), numbers)
        except (KeyError, TypeError) as error:
            text = f"its numbers no longer give it ({type(error).__name__}: {error}); run robustft readme"
            findings.append(("edited-docs", str(spec_path.relative_to(root)), text))
            continue
        for kind in ("md", "csv"):
            path = spec_path.with_name(spec_path.name.split(".")[0] + f".{kind}")
            expected = formats.FORMATS[kind](grid)
            observed = path.read_text(encoding="utf-8") if path.is_file() else ""
            if observed != expected:
                text = _first_difference(expected, observed, page="the table", source="its numbers")
                findings.append(("edited-docs", str(path.relative_to(root)), text))
    return findings
