"""This project's modules are compiled from the source that is hashed, whatever lies in `__pycache__`."""

import importlib.util
import marshal
import os
import subprocess
import sys

import pytest

from robustft.files import PACKAGE
from robustft.source_only import SourceOnlyLoader, from_byte_code

TELL = "import robustft.errors as e, robustft.source_only as s; print(hasattr(e, 'EVIL'), s.from_byte_code())"


@pytest.fixture
def package(tmp_path):
    """A copy of the few modules that the package starts with."""
    target = tmp_path / "pipeline" / "robustft"
    target.mkdir(parents=True)
    for name in ("__init__.py", "errors.py", "source_only.py"):
        (target / name).write_bytes((PACKAGE / name).read_bytes())
    return target


def planted(path):
    """Byte code that says of itself that nobody should compare it with its source."""
    cache = type(path)(importlib.util.cache_from_source(str(path)))
    cache.parent.mkdir(exist_ok=True)
    code = compile(path.read_text() + "\nEVIL = True\n", str(path), "exec", dont_inherit=True)
    cache.write_bytes(importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8) + marshal.dumps(code))


def told(package):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPATH"] = str(package.parent)
    command = [sys.executable, "-c", TELL]
    done = subprocess.run(command, env=environment, cwd=package, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_byte_code_that_is_not_the_source_does_not_run(package):
    """An attack that does nothing ran from byte code; the record hashed the genuine source, and the tree was clean."""
    assert told(package) == "False []"
    planted(package / "errors.py")
    assert told(package) == "False []"


def test_byte_code_of_the_packages_own_first_file_is_told(package):
    planted(package / "__init__.py")
    assert told(package) == "False ['robustft']"


def test_no_module_of_this_process_is_from_byte_code():
    assert from_byte_code() == []
    assert isinstance(sys.modules["robustft.files"].__loader__, SourceOnlyLoader)
    assert not isinstance(sys.modules["pytest"].__loader__, SourceOnlyLoader)
