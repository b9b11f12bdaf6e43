"""The `deviations` step: a page of all that is done otherwise than a paper does it, with the tables that it touches."""

from __future__ import annotations

from typing import Any

from robustft.files import write_text
from robustft.report.formats import Grid, to_html, to_markdown
from robustft.runtime.context import Context


def build_grid(spec: dict[str, Any]) -> Grid:
    """Lay the deviations out as a table, in the order of the configuration."""
    return Grid(
        title=f"Deviations from {spec['title']}",
        header=["Deviation", "What is done otherwise, or than is known of it", "Tables that it touches"],
        rows=[
            [one["key"], one["text"], ", ".join(one["tables"]) or "none at this scale"] for one in spec["deviations"]
        ],
        notes=["A table names only those that touch one of its rows, its columns or its data."],
        row_names=[one["key"] for one in spec["deviations"]],
        column_names=["text", "tables"],
        alignment="lll",
        head=[f"Scale {spec['scale']}."],
    )


def page(spec: dict[str, Any], kind: str) -> str:
    """Return the page as `md` or `html`."""
    grid = build_grid(spec)
    return to_html(grid) if kind == "html" else to_markdown(grid)


def deviations(spec: dict[str, Any], context: Context) -> None:
    """Write the page as Markdown and HTML."""
    for kind, path in context.outputs.items():
        write_text(path, page(spec, kind))
