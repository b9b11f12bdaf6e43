"""Numbers in the README are bound to files, or reported."""

from collections import Counter

import pytest

from robustft.provenance.readme import readme_findings

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
