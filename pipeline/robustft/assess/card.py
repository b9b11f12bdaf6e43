"""The card of an evaluation: in one line whether to trust the numbers, then the numbers, then every check."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from robustft.report.formats import markdown_lines
from robustft.report.statistics import wilson
from robustft.report.trust import REASONS, Finding

if TYPE_CHECKING:
    from robustft.assess.results import Results

NUMBER_HEAD = ["Attack", "Threat", "Accuracy %", "95 % interval", "Images"]
CHECK_HEAD = ["Check", "", "Value", "At most", "Of"]

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
.line { padding: .8rem 1rem; border-left: .4rem solid; background: #f4f6f8; }
.good { border-color: #009e73; } .bad { border-color: #d55e00; }
table { border-collapse: collapse; margin: 1rem 0; }
td, th { padding: .25rem .7rem; border-bottom: 1px solid #ddd; text-align: left; }
tr.failed td { background: #fdeee4; } code { background: #f4f6f8; } img { max-width: 100%; }
@media (prefers-color-scheme: dark) {
  body { background: #16181b; color: #ddd; } .line, code { background: #23272c; } tr.failed td { background: #47301f; }
}
"""


def numbers_of(results: Results) -> list[list[str]]:
    """Return the rows of the accuracies."""
    rows = []
    for one in results.numbers:
        low, high = wilson(one.correct, one.images)
        threat = f"{one.norm} {one.eps}" if one.algorithm != "none" else "none"
        interval = f"{100 * low:.1f} to {100 * high:.1f}"
        rows.append([one.title, threat, f"{100 * one.accuracy:.2f}", interval, str(one.images)])
    return rows


def checks_of(results: Results) -> list[list[str]]:
    """Return the rows of the checks, those that failed first."""
    return [
        [one.check, "holds" if one.ok else "FAILED", f"{one.value:.3g}", f"{one.limit:.3g}", _of(one)]
        for one in sorted(results.findings, key=lambda one: one.ok)
    ]


def _of(one: Finding) -> str:
    return f"{one.meaning} ({one.where})" if one.where else one.meaning


def reasons_of(results: Results) -> list[tuple[str, str, str]]:
    """Return title, what is usual, and what to do, for each reason against the numbers."""
    return [(REASONS[name].title, REASONS[name].usual, REASONS[name].to_do) for name in results.reasons]


def facts_of(results: Results) -> list[str]:
    """Return what was evaluated, a line each."""
    index = results.index
    files = index["files"]
    return [
        f"Model: {index['title']}",
        f"Normalisation: {index['normalisation']}",
        f"Images: {index['images']}",
        *(f"Weights: {path}, SHA-256 {sha}" for path, sha in files.items()),
        *(f"Note: {note}" for note in index["notes"]),
    ]


def as_markdown(results: Results) -> str:
    """Return the card in Markdown."""
    lines = [f"# {results.index['title']} on {results.index['data']}", "", f"**{results.headline}**", ""]
    lines += [f"- {fact}" for fact in facts_of(results)]
    lines += ["", "## Numbers", "", *markdown_lines(NUMBER_HEAD, numbers_of(results), "llrrr"), ""]
    if results.reasons:
        lines += ["## What is probably wrong, and what to do", ""]
        lines += [f"- {title}. Usually {usual}. To do: {to_do}." for title, usual, to_do in reasons_of(results)]
        lines.append("")
    lines += ["## Checks", "", *markdown_lines(CHECK_HEAD, checks_of(results), "llrrl"), ""]
    return "\n".join([*lines, "Intervals are Wilson's, of the images drawn. Made by `robustft evaluate`.", ""])


def as_text(results: Results) -> str:
    """Return the card for a terminal."""
    lines = ["", results.headline, ""]
    lines += [f"  {row[0]:<14}{row[1]:<16}{row[2]:>7} %   ({row[3]}, {row[4]} images)" for row in numbers_of(results)]
    for title, usual, to_do in reasons_of(results):
        lines += ["", f"  {title}", f"    usually: {usual}", f"    to do:   {to_do}"]
    failed = sum(not one.ok for one in results.findings)
    lines += ["", f"  {len(results.findings)} checks, {failed} failed; card: {results.folder}/card.md, card.html"]
    return "\n".join(lines)


def as_html(results: Results) -> str:
    """Return the card as a page without any file beside it but the curve."""

    def cells(row: list[str], tag: str = "td") -> str:
        return "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row)

    def table(head: list[str], rows: list[list[str]]) -> str:
        body = "".join(f"<tr{' class=failed' if 'FAILED' in row else ''}>{cells(row)}</tr>" for row in rows)
        return f"<table><tr>{cells(head, 'th')}</tr>{body}</table>"

    title = html.escape(f"{results.index['title']} on {results.index['data']}")
    reasons = "".join(
        f"<li><b>{html.escape(name)}.</b> Usually {html.escape(usual)}. To do: {html.escape(to_do)}.</li>"
        for name, usual, to_do in reasons_of(results)
    )
    curve = '<img src="curve.svg" alt="robustness curve">' if (results.folder / "curve.svg").is_file() else ""
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
        f'<h1>{title}</h1><p class="line {"good" if results.trusted else "bad"}">{html.escape(results.headline)}</p>'
        f"<ul>{''.join(f'<li>{html.escape(fact)}</li>' for fact in facts_of(results))}</ul>"
        f"<h2>Numbers</h2>{table(NUMBER_HEAD, numbers_of(results))}{curve}"
        + (f"<h2>What is probably wrong, and what to do</h2><ul>{reasons}</ul>" if reasons else "")
        + f"<h2>Checks</h2>{table(CHECK_HEAD, checks_of(results))}</html>\n"
    )
