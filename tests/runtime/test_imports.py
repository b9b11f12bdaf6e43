"""Hiding packages while another one is imported."""

import importlib
import json
import sys

import pytest

from robustft.runtime.imports import import_without


def test_a_package_is_hidden_while_another_is_imported_and_there_again_afterwards(tmp_path, monkeypatch):
    (tmp_path / "package_of_this_test.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with import_without("package_of_this_test", "json"):
        assert importlib.import_module("json") is json  # what is there already stays there
        with pytest.raises(ImportError):
            importlib.import_module("package_of_this_test")
    assert importlib.import_module("package_of_this_test").__name__ == "package_of_this_test"
    del sys.modules["package_of_this_test"]
