"""Verdicts as tables: one row for each claim, and the cells of long tables in the layout of their source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from robustft.report.formats import DAGGER, Grid

NOT_COMPARABLE = "not comparable"
SUBSET = "not comparable: subset"
UNREAD = "no published value on record"
DIRECTION = "direction here"
NOT_TRAINED = "not trained"

SIGNS = {
    "reproduced": "=",
    "differs": "≠",
    "inconclusive": "?",
    NOT_COMPARABLE: "~",
    SUBSET: "~",
    NOT_TRAINED: NOT_TRAINED,
    "not run": "not run",
    UNREAD: "–",
}
"""How a verdict is written in a cell."""

VERDICTS = ("holds", "reversed", DIRECTION, *SIGNS)
"""Every verdict, in the order in which they are counted."""

UNJUDGED = frozenset({DIRECTION, NOT_COMPARABLE, NOT_TRAINED, UNREAD, "not run"})
"""Those that say nothing about the paper."""


def _signed(points: float, digits: int = 1) -> str:
    """Write a number with its sign; a number that rounds to zero gets no minus."""
    return f"{round(points, digits) + 0.0:+.{digits}f}"


def _digits(margin: float) -> int:
    """Return the decimals that show where a difference lies within a margin."""
    return 1 if margin >= 0.5 else 2 if margin >= 0.1 else 3


def interval_text(verdict: dict[str, Any]) -> str:
    """Return the difference with its 95 % interval, in points unless the verdict has a unit; "" for none."""
    if "estimate" not in verdict:
        return ""
    unit = verdict.get("unit", "")
    if verdict.get("exact"):
        return f"{verdict['estimate']:+,.0f} {unit}"
    parts = ("estimate", "low", "high") if "low" in verdict else ("estimate",)
    digits = _digits(verdict.get("margin", 1.0))
    estimate, *limits = (_signed((1 if unit else 100) * verdict[part], digits) for part in parts)
    return f"{estimate} {f'[{limits[0]}, {limits[1]}]' if limits else 'of one seed'} {unit}".strip()


def verdict_text(verdict: dict[str, Any]) -> str:
    """Return the verdict; with a word if it is exact, and a dagger if a sanity check failed on either side."""
    exact = ", exact" if verdict.get("exact") else ""
    return f"{verdict['verdict']}{exact}{f' {DAGGER}' if 'failed_checks' in verdict else ''}"


def p_text(verdict: dict[str, Any]) -> str:
    """Return the p-value of an ordering and the adjusted one."""
    if "p" not in verdict:
        return ""
    return ", ".join("< .001" if p < 0.001 else f"{p:.3f}"[1:] if p < 1 else "1" for p in _p_values(verdict))


def _p_values(verdict: dict[str, Any]) -> tuple[float, float]:
    return verdict["p"], verdict["p_holm"]


def margins_text(verdict: dict[str, Any]) -> str:
    """Return the verdicts on a published value at half and at double the margin."""
    return f"{verdict['at_half_margin']} / {verdict['at_double_margin']}" if "at_half_margin" in verdict else ""


def given_text(verdict: dict[str, Any]) -> str:
    """Return the pre-trained checkpoints that the interval is conditional on."""
    return ", ".join(verdict.get("given", []))


def remarks(verdict: dict[str, Any]) -> list[str]:
    """Return what must be said beside a verdict, in words."""
    told = [f"may be guessing: {'; '.join(verdict['untrained'])}"] if "untrained" in verdict else []
    if "chosen" in verdict:
        told.append(f"best on validation images: {verdict['chosen']}")
    if "below" in verdict:
        told.append(f"at most {verdict['below']:g} points below still holds")
    if "by_dataset" in verdict:
        told.append("{other_way} of {number} data sets go the other way".format(**verdict["by_dataset"]))
    if verdict.get("selection") == "test":
        told.append("the published checkpoint was chosen on the test images")
    if "published_images" in verdict:
        told.append(
            f"on {_counted(verdict['images'])} test images, published on {_counted(verdict['published_images'])}"
        )
    if "seeds_needed" in verdict:
        told.append(_seeds_needed(verdict["seeds_needed"]))
    told += [f"{DAGGER} {check}" for check in verdict.get("failed_checks", [])]
    return told + ([verdict["remark"]] if "remark" in verdict else [])


def _seeds_needed(number: int | None) -> str:
    if number is None:
        return "no number of seeds with this spread fits the margin, as the published run has it too"
    return f"{number} seeds with this spread would fit the margin"


def _counted(images: dict[str, int]) -> str:
    return ", ".join(f"{number:,}" for number in dict.fromkeys(images.values()))


Column = tuple[str, str, str, Callable[[dict[str, Any]], str]]
"""Name, heading, alignment, and the text of a verdict."""

COLUMNS: tuple[Column, ...] = (
    ("verdict", "Verdict", "l", verdict_text),
    ("difference", "Difference in points [95 %]", "r", interval_text),
    ("p", "p, adjusted (Holm)", "r", p_text),
    ("margins", "At half / double margin", "l", margins_text),
    ("given", "Given", "l", given_text),
    ("remarks", "Remarks", "l", lambda verdict: "; ".join(remarks(verdict))),
    ("confidence", "Confidence", "l", lambda verdict: verdict["confidence"]),
    ("source", "Source", "l", lambda verdict: verdict["source"]),
)


def build_grid(spec: dict[str, Any], content: dict[str, Any]) -> Grid:
    """Lay the verdicts out as a table: a row for each claim, and for each long table whose cells are judged.

    A column that would be empty is left out.
    """
    claims, tables = content["verdicts"], content.get("tables", [])
    judged = [table for table in tables if table.get("cells")]
    rows = [{**table, "verdict": _listed(table["verdicts"])} for table in judged]
    columns = [one for one in COLUMNS if any(one[3](verdict) for verdict in claims)] or list(COLUMNS[:1])
    return Grid(
        title=f"Claims of {spec['paper']} at scale {spec['scale']}",
        header=["Claim", *(heading for _, heading, _, _ in columns)],
        rows=[
            [first, *(text(verdict) for _, _, _, text in columns)]
            for first, verdict in [(one["statement"], one) for one in claims] + [(one["about"], one) for one in rows]
        ],
        notes=[*_notes(spec, content), *_table_notes(tables)],
        row_names=[verdict["id"] for verdict in claims] + [table["id"] for table in judged],
        column_names=[name for name, _, _, _ in columns],
        alignment="l" + "".join(letter for _, _, letter, _ in columns),
        unjudged=frozenset(
            [one["id"] for one in claims if one["verdict"] in UNJUDGED]
            + [one["id"] for one in judged if UNJUDGED.issuperset(one["verdicts"])]
        ),
    )


def _notes(spec: dict[str, Any], content: dict[str, Any]) -> list[str]:
    """Return what the verdicts of this scale mean."""
    if spec["reproduces"]:
        notes = [
            "An ordering's p-value is two-sided and adjusted for the number of the paper's orderings (Holm); its"
            " interval is not. Fewer than three seeds are inconclusive."
        ]
        notes += [f"Margin of {margin}: {reason}" for margin, reason in content.get("margins", {}).items()]
    else:
        notes = [
            "An ordering between stand-ins has a direction here and no verdict: it is no evidence about the paper."
            " Published values are not comparable with this scale's stand-ins."
        ]
    notes.append("Intervals: errors of seeds (Student's t) and of test images (normal) are combined.")
    if any("given" in verdict for verdict in content["verdicts"]):
        notes.append(
            "Given: each interval is for other fine-tunings from these pre-trained checkpoints. Pre-training ran once,"
            " so how much another one would change is not in it."
        )
    if any("failed_checks" in verdict for verdict in content["verdicts"]):
        notes.append(f"{DAGGER} a sanity check of one side failed, so do not trust its number as it stands.")
    return notes


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


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
    return [_cell_grid(table) for table in content.get("tables", []) if table.get("cells")]


def _cell_grid(table: dict[str, Any]) -> Grid:
    columns = list(dict.fromkeys(cell["cell"][2] for cell in table["cells"]))
    lines = {(cell["cell"][0], cell["cell"][1]): ["" for _ in columns] for cell in table["cells"]}
    for cell in table["cells"]:
        lines[cell["cell"][0], cell["cell"][1]][columns.index(cell["cell"][2])] = _cell_text(cell)
    signs = "; ".join(f"{sign} {verdict}" for verdict, sign in SIGNS.items() if verdict not in (sign, SUBSET))
    about = f"Measured minus published with the verdicts at half the margin, at it and at double: {signs}."
    return Grid(
        title=f"{table['about']} ({table['source']})",
        header=["Metric", "Method", *columns],
        rows=[[*names, *texts] for names, texts in lines.items()],
        notes=[about, *_cell_remarks(table["cells"]), *table["caveats"]],
        row_names=[".".join(names) for names in lines],
        column_names=columns,
        alignment="ll" + "r" * len(columns),
    )


def _cell_text(cell: dict[str, Any]) -> str:
    """Return the difference and the signs of the verdicts at half, full and double margin."""
    names = ("at_half_margin", "verdict", "at_double_margin") if "at_half_margin" in cell else ("verdict",)
    signs = " ".join(SIGNS[cell[name]] for name in names)
    dagger = f" {DAGGER}" if "failed_checks" in cell else ""
    if "estimate" not in cell:
        return signs + dagger
    estimate = interval_text(cell).split(" ")[0]
    return f"{estimate} {signs}{dagger}"


def _cell_remarks(cells: list[dict[str, Any]]) -> list[str]:
    """Return what must be said of a table's cells, each remark once with the number of cells that it is about."""
    counts = Counter(remark for cell in cells for remark in remarks(cell))
    return [f"{remark} ({count} of {len(cells)} cells)" for remark, count in counts.items()]
