"""The commands on a small plan instead of the project's own."""

from __future__ import annotations

import argparse

import pytest

from robustft.cli.parser import CommandLine
from robustft.plan import Plan
from tests import toy_config
from tests.plan.toy_plan import FILES


@pytest.fixture(scope="session")
def toy_plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """A small plan, with a download that is got by hand."""
    published = {**FILES["published"], "bytes": 7_000_000}
    digits = {"files": {"images": "published"}, "images": 1797}
    changes = {"files": {"published": published}, "sources": {"digits": digits}}
    return Plan(toy_config.write(tmp_path_factory.mktemp("toy") / "config", datasets=changes))


@pytest.fixture
def command(toy_plan, monkeypatch, tmp_path):
    """Run a command of the command line, in an empty folder and on the small plan; return its exit status."""
    monkeypatch.chdir(tmp_path)
    for module in ("planning", "results", "sharing"):
        monkeypatch.setattr(f"robustft.cli.{module}.planned", lambda arguments: toy_plan)

    def run(*words: str) -> int:
        arguments: argparse.Namespace = CommandLine().parse(words)
        return arguments.run(arguments)

    return run
