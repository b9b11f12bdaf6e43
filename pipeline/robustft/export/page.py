"""`robustft export page`: every table of a scale in one HTML file, where a click on a cell shows its lineage.

The file is complete: content, style and script are in it, and it loads nothing from a network.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from robustft import escape
from robustft.export.audit_gate import Standing, audited
from robustft.export.page_data import PageData
from robustft.files import write_text
from robustft.plan import Plan

PARTS = Path(__file__).parent / "template"
"""Template, style and script."""

PLACE = re.compile(r"\{\{(\w+)\}\}")


def export_page(plan: Plan, target: Path, *, unaudited: bool = False, log: Callable[[str], None] = print) -> Path:
    """Write the audit page of a plan's scale to `target` and return it.

    Raises RobustftError if the audit fails, unless `unaudited`.
    """
    standing = audited(plan, unaudited=unaudited, log=log)
    content = PageData(plan, standing).gather()
    write_text(target, render(content, standing))
    cells = sum(len(row["cells"]) for paper in content["papers"] for one in paper["tables"] for row in one["rows"])
    log(f"{target}: {cells} cells, {len(content['steps'])} steps, {target.stat().st_size / 1e6:.1f} MB")
    return target


def render(content: dict[str, Any], standing: Standing) -> str:
    """Return the page of some content."""
    figures = {
        figure["id"]: _data_uri(Path(figure["svg"])) for paper in content["papers"] for figure in paper["figures"]
    }
    parts = {
        "title": escape.html(f"robustft, scale {content['scale']}: where every number comes from"),
        "scale": escape.html(content["scale"]),
        "root": escape.html(standing.root),
        "style": _part("style.css"),
        "script": _part("script.js"),
        "content": _embedded(content),
        "figures": _embedded(figures),
    }
    return PLACE.sub(lambda match: parts[match[1]], _part("page.html"))


def _part(name: str) -> str:
    return (PARTS / name).read_text(encoding="utf-8")


def _embedded(value: Any) -> str:
    """Return JSON that cannot end the script element around it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


def _data_uri(path: Path) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
