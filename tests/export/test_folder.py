"""An export's folder is whole or absent, and never takes the place of something else."""

from __future__ import annotations

import zipfile

import pytest

from robustft.errors import RobustftError
from robustft.export.folder import archive, whole_folder


def fill(target, text: str) -> None:
    with whole_folder(target, mark="mark") as folder:
        (folder / "mark").write_text(text)


def fail(target) -> None:
    """An export that writes its mark and fails."""
    with whole_folder(target, mark="mark") as folder:
        assert list(folder.iterdir()) == []
        (folder / "mark").write_text("half")
        raise ValueError("half way")


def test_a_second_export_replaces_the_first_whole(tmp_path):
    target = tmp_path / "out"
    fill(target, "one")
    (target / "left over").write_text("of the first")
    fill(target, "two")
    assert [path.name for path in target.iterdir()] == ["mark"]
    assert (target / "mark").read_text() == "two"


def test_an_export_that_fails_leaves_the_earlier_one(tmp_path):
    target = tmp_path / "out"
    fill(target, "one")
    with pytest.raises(ValueError, match="half way"):
        fail(target)
    assert (target / "mark").read_text() == "one"
    assert [path.name for path in tmp_path.iterdir() if path.suffix in (".part", ".old")] == []


@pytest.mark.parametrize("killed", ["writing", "between the renames"])
def test_what_a_killed_export_left_is_cleared_away(killed, tmp_path):
    target = tmp_path / "out"
    fill(target, "one")
    (tmp_path / ".out.part").mkdir()
    (tmp_path / ".out.part" / "half").write_text("a file")
    if killed == "between the renames":
        target.rename(tmp_path / ".out.old")
    with pytest.raises(ValueError, match="half way"):
        fail(target)
    assert (target / "mark").read_text() == "one"


def test_a_folder_that_is_no_export_is_not_replaced(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RobustftError, match="no earlier export"):
        fill(tmp_path, "one")
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_equal_folders_are_equal_archives(tmp_path):
    for name in ("one", "two"):
        folder = tmp_path / name
        for file in ("b.txt", "a.txt") if name == "one" else ("a.txt", "b.txt"):
            (folder / "inner").mkdir(parents=True, exist_ok=True)
            (folder / "inner" / file).write_text(f"content of {file}")
        archive(folder, tmp_path / f"{name}.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as stream:
        assert stream.namelist() == ["inner/a.txt", "inner/b.txt"]
        assert stream.read("inner/b.txt") == b"content of b.txt"
