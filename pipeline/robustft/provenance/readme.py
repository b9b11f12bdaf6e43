"""Numbers in the README: each is inside a block that is bound to a file of docs/, or it is reported.

A block looks like `<!-- robustft:begin docs/demo/twins/tables/main.md -->` ... `<!-- robustft:end -->`; what stands
between equals the file. docs/ holds a snapshot of one run with its numbers, so tables there can be rendered again.
"""

from __future__ import annotations

import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from robustft.errors import RobustftError
from robustft.files import ROOT, read_json, require_checkout, write_json, write_text
from robustft.plan import Plan
from robustft.report import formats, tables
from robustft.report.summary import summary

BLOCK = re.compile(r"(<!-- robustft:begin (\S+) -->\n)(.*?)(<!-- robustft:end -->)", re.DOTALL)
LOOSE_NUMBER = re.compile(r"\d+(?:\.\d+)?\s?%|\d+(?:\.\d+)?\s±")
"""What reads as a result: a percentage or a mean with a spread."""


def snapshot_folder(scale: str) -> Path:
    """Return where the README's numbers of a scale are kept."""
    return ROOT / "docs" / scale


def update_readme(plan: Plan) -> str:
    """Copy the plan's tables, figures, verdicts and numbers to docs/<scale>/ and fill the README's blocks."""
    require_checkout("readme")
    manifest = plan.step("manifest", plan.scale).outputs["manifest"]
    if not Path(manifest).is_file():
        raise RobustftError(
            f"scale {plan.scale} has not been run to its end", where=manifest, next_step="run snakemake"
        )
    folder = snapshot_folder(plan.scale)
    shutil.rmtree(folder, ignore_errors=True)
    results = f"results/{plan.scale}"
    for step in (step for kind in ("verdicts", "table", "figure") for step in plan.of_kind(kind)):
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
    write_json(folder / "root.json", {"scale": plan.scale, "root": read_json(manifest)["root"]})
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    write_text(readme, BLOCK.sub(lambda m: m[1] + (ROOT / m[2]).read_text(encoding="utf-8") + m[4], text))
    return f"docs/{plan.scale} and README.md hold the numbers of root {read_json(manifest)['root']}"


def _without_passed_checks(numbers: dict[str, Any]) -> dict[str, Any]:
    """Keep a paper's numbers but of the sanity checks only those that failed: a snapshot in git should be small."""
    kept = [
        {**measurement, "checks": [check for check in measurement["checks"] if not check["ok"]]}
        for measurement in numbers["measurements"]
    ]
    return {**numbers, "measurements": kept}


def readme_findings(counts: Counter[str], root: Path = ROOT) -> list[tuple[str, str, str]]:
    """Return (code, subject, text) for each README block that is not its file, and each number outside a block."""
    path = root / "README.md"
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    found = []
    for _, name, body, _ in BLOCK.findall(text):
        counts["README blocks"] += 1
        source = root / name
        if not source.is_file():
            found.append(("unbound-readme", name, "the README shows a block of a file that does not exist"))
        elif source.read_text(encoding="utf-8") != body:
            found.append(("edited-readme", name, _first_difference(source.read_text(encoding="utf-8"), body)))
    for number in LOOSE_NUMBER.findall(BLOCK.sub("", text)):
        found.append(("unbound-readme", number.strip(), "a number in the README is bound to no result file"))
    return found + _snapshot_findings(root)


def _first_difference(wanted: str, found: str) -> str:
    for ours, theirs in zip(wanted.splitlines(), found.splitlines(), strict=False):
        if ours != theirs:
            return f"the README has '{theirs}', the file has '{ours}'"
    return "lines were added or removed"


def _snapshot_findings(root: Path) -> list[tuple[str, str, str]]:
    """Render the tables and summaries of docs/ again from the numbers beside them."""
    found = []
    for path in sorted(root.glob("docs/*/summary.md")):
        papers = [numbers.parent.name for numbers in sorted(path.parent.glob("*/numbers.json"))]
        wanted = formats.to_markdown(summary(path.parent, papers, scale=path.parent.name))
        if path.read_text(encoding="utf-8") != wanted:
            text = _first_difference(wanted, path.read_text(encoding="utf-8"))
            found.append(("edited-docs", str(path.relative_to(root)), text.replace("the README", "the summary")))
    for spec_path in sorted(root.glob("docs/*/*/tables/*.spec.json")):
        numbers = read_json(spec_path.parents[1] / "numbers.json")
        try:
            grid = tables.build_grid(read_json(spec_path), numbers)
        except (KeyError, TypeError) as error:
            text = f"its numbers no longer give it ({type(error).__name__}: {error}); run robustft readme"
            found.append(("edited-docs", str(spec_path.relative_to(root)), text))
            continue
        for kind in ("md", "csv"):
            target = spec_path.with_name(spec_path.name.split(".")[0] + f".{kind}")
            wanted = formats.FORMATS[kind](grid)
            if not target.is_file() or target.read_text(encoding="utf-8") != wanted:
                body = target.read_text(encoding="utf-8") if target.is_file() else ""
                text = (
                    _first_difference(wanted, body)
                    .replace("the README", "the table")
                    .replace("the file", "its numbers")
                )
                found.append(("edited-docs", str(target.relative_to(root)), text))
    return found
