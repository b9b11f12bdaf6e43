"""Getting published results with the real git and DVC, from a folder as the remote: nothing here is ever deleted."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustft.errors import RobustftError
from robustft.export import dvc_store
from robustft.export import get as getting
from robustft.export import publish as publishing
from tests.export.test_publish import PLAN, checkout, crates, git, remote_at, run

__all__ = ["checkout", "crates"]


def silent(line: str) -> None:
    """Say nothing."""


@pytest.fixture
def clone(checkout, tmp_path, monkeypatch) -> Path:
    """A clone of a checkout that has published its results; the clone has none, and the same remote."""
    publishing.publish(PLAN, log=silent)
    git("add", "dvc.lock")
    git("commit", "--quiet", "--message", "results")
    folder = tmp_path / "clone"
    run("git", "clone", "--quiet", str(checkout), str(folder))
    monkeypatch.chdir(folder)
    for module in (getting, dvc_store):
        monkeypatch.setattr(module, "ROOT", folder)
    remote_at(tmp_path / "store")
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in (folder / "results").rglob("*") if p.is_file()}


def test_what_is_missing_comes_with_its_bytes_and_what_only_this_machine_has_stays(clone, checkout):
    """`dvc pull --force` deleted unsaved results, and the data of other scales with them."""
    own = clone / "results" / "toy" / "mine" / "ledger.parquet"
    own.parent.mkdir(parents=True)
    own.write_text("a night's work")
    said: list[str] = []
    count = getting.get(PLAN, log=said.append)
    published = files(checkout)
    assert count == len(published) > 0
    assert files(clone) == {**published, "results/toy/mine/ledger.parquet": b"a night's work"}
    assert said[-1] == f"{count} of {count} files were missing and are here now"
    assert getting.get(PLAN, log=silent) == 0


def test_only_what_is_missing_is_written(clone):
    getting.get(PLAN, log=silent)
    kept, lost = Path("results/toy/run.bin"), Path("results/data/digits.bin")
    before = kept.stat().st_mtime_ns
    lost.unlink()
    assert getting.get(PLAN, log=silent) == 1
    assert lost.read_text() == "data"
    assert kept.stat().st_mtime_ns == before


def test_a_file_that_is_another_here_stops_it_before_anything_is_touched(clone):
    mine = Path("results/toy/run.bin")
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(RobustftError, match=r"(?s)1 results here are others .*results/toy/run\.bin") as error:
        getting.get(PLAN, log=silent)
    assert "robustft publish" in str(error.value)
    assert files(clone) == {"results/toy/run.bin": b"mine"}


def test_without_a_remote_it_says_how_to_name_one(clone):
    Path(".dvc/config.local").unlink()
    with pytest.raises(RobustftError, match="no default remote to get results from") as error:
        getting.get(PLAN, log=silent)
    assert "dvc remote add" in str(error.value)


def test_without_published_results_it_says_so(clone):
    Path("dvc.lock").unlink()
    with pytest.raises(RobustftError, match="no results of scale 'toy' are published in this commit"):
        getting.get(PLAN, log=silent)
