"""A frozen checkout is the commit, whole and read-only, or there is none."""

import subprocess
from pathlib import Path

import pytest

from robustft.errors import RobustftError
from robustft.provenance.freeze import freeze, how_to_run


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    result = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return result.stdout.strip()


@pytest.fixture
def checkout(tmp_path) -> Path:
    folder = tmp_path / "a checkout é"
    (folder / "pipeline").mkdir(parents=True)
    (folder / "pipeline" / "code.py").write_text("X = 1\n")
    (folder / ".gitignore").write_text("/frozen/\n/results/\n")
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "first")
    return folder


def test_the_clone_is_the_commit_and_named_after_it(checkout):
    clone = freeze(checkout / "frozen", checkout=checkout)
    commit = git(checkout, "rev-parse", "HEAD")
    assert clone == checkout / "frozen" / commit[:12]
    assert git(clone, "rev-parse", "HEAD") == commit
    assert (clone / "pipeline" / "code.py").read_text() == "X = 1\n"
    assert (clone / "pipeline" / "code.py").stat().st_mode & 0o222 == 0
    assert git(clone, "status", "--porcelain") == ""
    assert str(clone) in how_to_run(clone)
    assert freeze(checkout / "frozen", checkout=checkout) == clone


def test_later_commits_get_clones_of_their_own(checkout):
    first = freeze(checkout / "frozen", checkout=checkout)
    (checkout / "pipeline" / "code.py").write_text("X = 2\n")
    git(checkout, "commit", "--quiet", "--all", "--message", "second")
    second = freeze(checkout / "frozen", checkout=checkout)
    assert (first / "pipeline" / "code.py").read_text() == "X = 1\n"
    assert (second / "pipeline" / "code.py").read_text() == "X = 2\n"


@pytest.mark.parametrize("name", ["code.py", "new.py"])
def test_what_is_not_committed_is_refused_by_name(checkout, name):
    (checkout / "pipeline" / name).write_text("X = 3\n")
    with pytest.raises(RobustftError, match=rf"not as committed[\s\S]*pipeline/{name}"):
        freeze(checkout / "frozen", checkout=checkout)
    assert not (checkout / "frozen").exists()


def test_results_do_not_count_as_changes(checkout):
    (checkout / "results").mkdir()
    (checkout / "results" / "numbers.json").write_text("{}")
    (checkout / "note.txt").write_text("a run does not read this")
    assert freeze(checkout / "frozen", checkout=checkout).is_dir()


def test_an_edited_clone_is_not_used_again(checkout):
    clone = freeze(checkout / "frozen", checkout=checkout)
    (clone / "pipeline" / "code.py").chmod(0o644)
    (clone / "pipeline" / "code.py").write_text("X = 9\n")
    with pytest.raises(RobustftError, match="has been edited"):
        freeze(checkout / "frozen", checkout=checkout)


def test_outside_git_the_message_says_so(tmp_path):
    with pytest.raises(RobustftError, match="in a clone of the repository"):
        freeze(tmp_path / "frozen", checkout=tmp_path)
