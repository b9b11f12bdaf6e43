"""Numbers in the README are bound to files, or reported."""

import json
from collections import Counter

import pytest

from robustft.provenance.readme import SNAPSHOT_FORMAT, readme_findings, readme_notes

BLOCK = "<!-- robustft:begin docs/t.md -->\n| AT | 69.1 ± 3.4 |\n<!-- robustft:end -->\n"


@pytest.fixture
def root(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "t.md").write_text("| AT | 69.1 ± 3.4 |\n")
    (tmp_path / "README.md").write_text(f"# robustft\n{BLOCK}")
    return tmp_path


def codes(root) -> list[tuple[str, str]]:
    return [(code, subject) for code, subject, _ in readme_findings(Counter(), root)]


def test_a_bound_block_is_fine(root):
    counts: Counter[str] = Counter()
    assert readme_findings(counts, root) == []
    assert counts["README blocks"] == 1


def test_an_edited_block_is_named(root):
    (root / "README.md").write_text(BLOCK.replace("69.1", "79.1"))
    assert codes(root) == [("edited-readme", "docs/t.md")]


def test_a_block_of_no_file_is_named(root):
    (root / "docs" / "t.md").unlink()
    assert codes(root) == [("unbound-readme", "docs/t.md")]


@pytest.mark.parametrize("text", ["keeps 75 % of it", "about 75% robust", "reaches 69.1 ± 3.4"])
def test_a_number_outside_every_block_is_named(root, text):
    (root / "README.md").write_text(f"{BLOCK}\n{text}\n")
    ((code, _),) = codes(root)
    assert code == "unbound-readme"


@pytest.mark.parametrize(("form", "is_noted"), [(1, True), (None, True), (SNAPSHOT_FORMAT, False)])
def test_a_snapshot_of_another_version_is_a_note_and_no_edited_table(root, form, is_noted):
    tables = root / "docs" / "demo" / "toy" / "tables"
    tables.mkdir(parents=True)
    (tables / "main.spec.json").write_text("{}")
    (tables.parent / "numbers.json").write_text("{}")
    (root / "docs" / "demo" / "root.json").write_text(json.dumps({"format": form} if form else {}))
    assert bool(readme_notes(root)) is is_noted
    assert bool(codes(root)) is not is_noted
