"""The page: one file with the content inside, which asks for nothing from a network."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from robustft.export.page import export_page


def quiet(line: str) -> None:
    """Say nothing."""


def embedded(page: Path, id: str = "content") -> dict:
    """The JSON in a page."""
    found = re.search(rf'<script type="application/json" id="{id}">(.*?)</script>', page.read_text(encoding="utf-8"))
    return json.loads(found[1])


@pytest.fixture
def page(finished, tmp_path) -> Path:
    return export_page(finished, tmp_path / "page.html", log=quiet)


def test_text_of_the_configuration_cannot_end_the_script_that_it_stands_in(page):
    text = page.read_text(encoding="utf-8")
    assert "</script><script>alert(1)" not in text
    assert text.count("<script") == text.count("</script>") == 3
    assert any("</script><script>alert(1)</script>" in str(claim["facts"]) for claim in embedded(page)["claims"])


def test_the_page_asks_for_nothing_from_a_network(page):
    shell = re.sub(r'<script type="application/json".*?</script>', "", page.read_text(encoding="utf-8"), flags=re.S)
    assert not re.search(
        r"""(src|href)\s*=\s*["']?\s*(https?:)?//|url\(|@import|fetch\(|XMLHttpRequest|WebSocket""", shell
    )
    assert "default-src 'none'" in shell


def test_a_file_that_was_changed_is_shown_as_changed(tampered, tmp_path):
    content = embedded(export_page(tampered, tmp_path / "page.html", unaudited=True, log=quiet))
    assert content["audit"]["ok"] is False
    assert any("history.csv" in finding for finding in content["audit"]["findings"])
    changed = [path for step in content["steps"] for path, _, _, verified in step["files"] if not verified]
    assert [Path(path).name for path in changed] == ["history.csv"]
