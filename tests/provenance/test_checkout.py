"""Whether a checkout is its commit's: bytes are compared, whatever git was told to overlook."""

import os
import subprocess

import pytest

from robustft.errors import RobustftError
from robustft.provenance.checkout import blob_hashes, changes, git


@pytest.fixture
def root(tmp_path):
    """A small checkout with one commit."""
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "a.py").write_text("a = 1\n")
    (tmp_path / ".gitignore").write_text("*.so\n__pycache__/\nresults/\n")
    identity = ("-c", "user.name=n", "-c", "user.email=e@x")
    for arguments in (("init", "-q"), ("add", "-A"), (*identity, "commit", "-qm", "first")):
        assert git(*arguments, root=tmp_path) is not None
    return tmp_path


def test_a_checkout_is_clean_with_outputs_and_byte_code(root):
    for name in ("results/x.py", "pipeline/__pycache__/a.cpython-311.pyc", "notes.txt"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("x")
    assert list(changes(root)) == []


@pytest.mark.parametrize("flag", [None, "--assume-unchanged", "--skip-worktree"])
def test_an_edited_file_is_a_change_whatever_the_index_says(flag, root):
    if flag:
        git("update-index", flag, "pipeline/a.py", root=root)
    (root / "pipeline" / "a.py").write_text("a = 2\n")
    assert list(changes(root)) == ["pipeline/a.py"]


def test_a_filter_that_turns_an_edit_back_hides_nothing(root):
    (root / ".git" / "info" / "attributes").write_text("*.py filter=back\n")
    git("config", "filter.back.clean", "printf 'a = 1\\n'", root=root)
    (root / "pipeline" / "a.py").write_text("a = 2\n")
    assert list(changes(root)) == ["pipeline/a.py"]


@pytest.mark.parametrize("name", ["pipeline/torch.py", "pipeline/deep/b.so", "sitecustomize.py", "mine/net.py"])
def test_a_file_that_python_could_import_is_a_change_though_git_ignores_it(name, root):
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_text("x = 1\n")
    assert list(changes(root)) == [name]


def test_line_ends_of_another_system_are_no_change(root):
    (root / "pipeline" / "a.py").write_bytes(b"a = 1\r\n")
    assert list(changes(root)) == []


def test_files_of_a_commit_have_the_hash_of_their_bytes(root):
    found = blob_hashes([("HEAD", "pipeline/a.py"), ("HEAD", "gone"), ("f" * 40, "pipeline/a.py")], root)
    known = subprocess.run(["sha256sum", "pipeline/a.py"], cwd=root, capture_output=True, text=True, check=True)
    assert list(found.values()) == [known.stdout.split()[0], None, None]


def test_a_checkout_of_another_owner_is_an_error_that_says_what_to_do(root, monkeypatch):
    """It was a record without a commit, and a note that git does not know."""
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    monkeypatch.setenv("HOME", str(root))
    with pytest.raises(RobustftError, match="belongs to another user") as error:
        git("rev-parse", "HEAD", root=root)
    assert f"git config --global --add safe.directory {root}" in str(error.value)


def test_variables_that_name_another_repository_do_not_count(root, monkeypatch):
    monkeypatch.setenv("GIT_DIR", os.devnull)
    assert git("rev-parse", "HEAD", root=root)
