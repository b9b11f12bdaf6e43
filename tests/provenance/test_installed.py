"""Loaded files of packages are those that were installed; other modules are named."""

import base64
import hashlib
import sys

import pytest

from robustft.provenance import installed


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of packages on Python's path, with one package of one module, which is loaded."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    place = tmp_path / "site"
    place.mkdir()
    (place / "honest.py").write_text("x = 1\n")
    digest = base64.urlsafe_b64encode(hashlib.sha256(b"x = 1\n").digest()).rstrip(b"=").decode()
    about = place / "honest-1.dist-info"
    about.mkdir()
    (about / "RECORD").write_text(f"honest.py,sha256={digest},6\nhonest-1.dist-info/RECORD,,\n")
    monkeypatch.syspath_prepend(str(place))
    for cached in (installed._folders, installed._recorded, installed._looked_at, installed.startup_files):
        cached.cache_clear()
    yield place
    for name in ("honest", "evil_hook"):
        sys.modules.pop(name, None)
    for cached in (installed._folders, installed._recorded, installed._looked_at, installed.startup_files):
        cached.cache_clear()


def test_packages_as_they_were_installed_are_nothing_to_tell_of(folder):
    __import__("honest")
    assert installed.loaded_code(()) == {"changed": [], "unowned": []}
    assert installed.cache().is_file()


def test_an_edited_file_of_a_package_is_named_also_if_it_was_hashed_before(folder):
    """Its version stayed the same, so its packages were `as locked`."""
    __import__("honest")
    installed.loaded_code(())
    installed._looked_at.cache_clear()
    (folder / "honest.py").write_text("x = 2\n")
    assert installed.loaded_code(()) == {"changed": ["honest.py"], "unowned": []}


def test_a_module_of_no_package_is_named_unless_the_record_hashes_it(folder):
    """A hook beside the packages, loaded by a .pth file, changed torch's gradients."""
    (folder / "evil_hook.py").write_text("")
    (folder / "zz.pth").write_text("import evil_hook\n")
    __import__("evil_hook")
    assert installed.loaded_code(())["unowned"] == ["evil_hook"]
    assert "zz.pth" in installed.startup_files()
    (folder.parent / "mine.py").write_text("")
    sys.path.insert(0, str(folder.parent))
    try:
        __import__("mine")
        assert "mine" in installed.loaded_code(())["unowned"]
        assert "mine" not in installed.loaded_code({str(folder.parent / "mine.py")})["unowned"]
    finally:
        sys.path.pop(0)
        del sys.modules["mine"]


def test_variables_that_decide_numbers_are_told_without_places(monkeypatch):
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    monkeypatch.setenv("PYTHONPATH", f"{installed.ROOT}/pipeline")
    monkeypatch.setenv("SECRET", "x")
    told = installed.variables()
    assert told["MKL_CBWR"] == "COMPATIBLE"
    assert told["PYTHONPATH"] == "./pipeline"
    assert "SECRET" not in told
