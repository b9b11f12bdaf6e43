"""What a step ran in: the peak of the memory is the step's own, versions are those that are installed."""

import importlib.metadata
import json
import subprocess
import sys

import pytest

from robustft.files import ROOT
from robustft.provenance.environment import PACKAGES, _metadata, _version, environment, forget_peak, peak_memory_mb

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems never reset a peak")


@linux
def test_the_peak_of_an_earlier_step_is_not_that_of_a_later_one():
    """It was: all steps of a bundle had the largest peak of those before them."""
    forget_peak()
    before = peak_memory_mb()
    held = bytearray(b"x") * (96 << 20)
    assert peak_memory_mb() >= before + 90
    del held
    forget_peak()
    assert peak_memory_mb() < before + 48


@linux
def test_a_process_does_not_have_the_peak_of_the_one_that_started_it():
    """`ru_maxrss` is handed on; a parent of 200 MB starts the child that tells its own peak."""
    code = (
        "import subprocess, sys\nheld = bytearray(b'x') * (200 << 20)\n"
        "tell = 'from robustft.provenance.environment import peak_memory_mb; print(peak_memory_mb())'\n"
        "subprocess.run([sys.executable, '-c', tell], check=True)"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert 0 < json.loads(said.stdout) < 150


def test_the_environment_of_a_second_step_is_that_of_the_first():
    assert environment() == environment()
    assert environment()["packages"]["torch"]


def test_versions_are_those_that_python_tells():
    """They are read from each package's metadata, not by Python's own slower way."""
    found = environment()["packages"]
    assert set(found) == set(PACKAGES)
    assert found == {name: importlib.metadata.version(name) for name in PACKAGES}


def test_versions_are_found_without_importing_the_slow_way():
    code = (
        "import sys, robustft.provenance.environment as e; e.environment(); print('importlib.metadata' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert told.strip() == "False"


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A folder that is first on Python's path, under no name that was looked at before."""
    monkeypatch.syspath_prepend(str(tmp_path))
    _metadata.cache_clear()
    yield tmp_path
    _metadata.cache_clear()


def test_the_first_of_two_packages_of_one_name_counts(path):
    (path / "PyYAML-0.0.7.dist-info").mkdir()
    (path / "PyYAML-0.0.7.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: PyYAML\nVersion: 0.0.7\n")
    assert _version("pyyaml") == "0.0.7" == importlib.metadata.version("pyyaml")


def test_a_package_without_readable_metadata_is_left_to_python(path):
    (path / "Old_Package.egg-info").mkdir()
    (path / "Old_Package.egg-info" / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: Old-Package\nVersion: 3\n")
    (path / "hollow-1.dist-info").mkdir()
    assert _version("old-package") == "3"
    assert _version("hollow") is None
    assert _version("no-such-package") is None
