"""The public API: each name's example runs, and no name is imported before it is asked for."""

import doctest
import json
import subprocess
import sys
from pathlib import Path

import pytest

import robustft
from robustft.files import ROOT
from robustft.models.checkpoint import save_checkpoint


@pytest.fixture
def folder(tmp_path, monkeypatch, tiny_model, tiny_backbone) -> Path:
    """The working directory of the examples: a checkpoint and nothing else."""
    about = {"backbone": tiny_backbone, "shape": [1, 8, 8], "classes": 5}
    save_checkpoint(tmp_path / "checkpoint.safetensors", tiny_model(lived=True), about=about)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_examples(test: doctest.DocTest) -> None:
    lines: list[str] = []
    result = doctest.DocTestRunner().run(test, out=lines.append)
    assert result.attempted
    assert not result.failed, "".join(lines)


@pytest.mark.parametrize("name", robustft.__all__)
def test_the_example_of_each_name_runs(name, folder):
    (test,) = doctest.DocTestFinder(recurse=False).find(getattr(robustft, name), name, globs={})
    run_examples(test)


def test_the_examples_of_the_page_run_and_it_shows_every_name(folder):
    text = (ROOT / "docs" / "api.md").read_text()
    assert not [name for name in robustft.__all__ if f"robustft.{name}" not in text]
    run_examples(doctest.DocTestParser().get_doctest(text.replace("```", "\n"), {}, "api.md", "docs/api.md", 0))


def test_a_name_is_imported_when_it_is_asked_for():
    code = (
        "import sys, json, robustft; before = set(sys.modules); robustft.make_plan; "
        "print(json.dumps([sorted(before), sorted(sys.modules), dir(robustft)]))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after, names = json.loads(said.stdout)
    assert not {"torch", "yaml", "numpy"} & set(before)
    assert "yaml" in after
    assert "torch" not in after
    assert set(robustft.__all__) <= set(names)
    with pytest.raises(AttributeError, match="pdg"):
        _ = robustft.pdg  # type: ignore[attr-defined]
