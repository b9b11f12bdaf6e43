"""Verdicts as tables: one row for each claim, and the cells of long tables in the layout of their source."""

from __future__ import annotations

from collections import Counter
from typing import Any

from robustft.report.formats import Grid

NOT_COMPARABLE = "not comparable"
UNREAD = "no published value on record"

SIGNS = {"reproduced": "=", "differs": "≠", "inconclusive": "?", NOT_COMPARABLE: "~", "not run": "not run", UNREAD: "–"}
"""How a verdict is written in a cell."""


def _signed(points: float) -> str:
    """Write a number with its sign; a number that rounds to zero gets no minus."""
    return f"{round(points, 1) + 0.0:+.1f}"


def interval_text(verdict: dict[str, Any]) -> str:
    """Return the estimated difference with its 95 % interval, in points unless the verdict has a unit; "" for none."""
    if "estimate" not in verdict:
        return ""
    factor = 1 if "unit" in verdict else 100
    low, estimate, high = (_signed(factor * verdict[part]) for part in ("low", "estimate", "high"))
    return f"{estimate} [{low}, {high}] {verdict.get('unit', '')}".strip()


def _row(verdict: dict[str, Any]) -> list[str]:
    interval = interval_text(verdict)
    return [verdict["statement"], verdict["verdict"], interval, verdict["confidence"], verdict["source"]]


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def build_grid(spec: dict[str, Any], content: dict[str, Any]) -> Grid:
    """Lay the verdicts out as a table: a row for each claim, and for each long table whose cells are judged."""
    notes = ["Orderings: seeds (Student's t) and test images are combined; fewer than three seeds is inconclusive."]
    if not spec["reproduces"]:
        notes.append("Published values are not comparable with this scale's stand-ins.")
    claims, tables = content["verdicts"], content.get("tables", [])
    judged = [table for table in tables if table.get("cells")]
    notes += _table_notes(tables)
    rows = [[t["about"], _listed(t["verdicts"]), "", t["confidence"], t["source"]] for t in judged]
    return Grid(
        title=f"Claims of {spec['paper']} at scale {spec['scale']}",
        header=["Claim", "Verdict", "Difference in points [95 %]", "Confidence", "Source"],
        rows=[_row(verdict) for verdict in claims] + rows,
        notes=notes,
        row_names=[verdict["id"] for verdict in claims] + [table["id"] for table in judged],
        column_names=["verdict", "difference", "confidence", "source"],
        alignment="llrll",
    )


def _table_notes(tables: list[dict[str, Any]]) -> list[str]:
    """Count the verdicts on the values of long tables, and the values without a run."""
    verdicts, left_out = Counter[str](), Counter[str]()
    for table in tables:
        verdicts.update(table["verdicts"])
        left_out.update(table["outside"])
    notes = [f"In tables of published values: {_listed(verdicts)}."] if verdicts else []
    if left_out:
        values = f"{left_out.total()} published values that no run corresponds to"
        notes.append(f"Outside of what is run: {values} ({_listed(left_out)}).")
    unread = sum("unread" in table for table in tables)
    return notes + ([f"Tables that could not be read at all: {unread}."] if unread else [])


def cell_grids(content: dict[str, Any]) -> list[Grid]:
    """Lay out the cells of each table as its source does: measured minus published in points, and the verdict."""
    grids = []
    for table in content.get("tables", []):
        if not table.get("cells"):
            continue
        columns = list(dict.fromkeys(cell["cell"][2] for cell in table["cells"]))
        lines = {(cell["cell"][0], cell["cell"][1]): ["" for _ in columns] for cell in table["cells"]}
        for cell in table["cells"]:
            sign = SIGNS[cell["verdict"]]
            text = f"{_signed(100 * cell['estimate'])} {sign}" if "estimate" in cell else sign
            lines[cell["cell"][0], cell["cell"][1]][columns.index(cell["cell"][2])] = text
        signs = "; ".join(f"{sign} {verdict}" for verdict, sign in SIGNS.items() if sign != verdict)
        grids.append(
            Grid(
                title=f"{table['about']} ({table['source']})",
                header=["Metric", "Method", *columns],
                rows=[[*(name.replace("|", "\\|") for name in names), *texts] for names, texts in lines.items()],
                notes=[f"Measured minus published, in points, with the verdict: {signs}.", *table["caveats"]],
                row_names=[".".join(names) for names in lines],
                column_names=columns,
                alignment="ll" + "r" * len(columns),
            )
        )
    return grids
