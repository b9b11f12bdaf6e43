"""Errors of a wrong value: what, in which file and line, and the nearest valid name."""

import pytest

from robustft.config.load import Config
from robustft.errors import ConfigError
from tests import toy_config


@pytest.fixture
def folder(tmp_path):
    """A small configuration to break."""
    toy_config.write(tmp_path / "config")
    return tmp_path / "config"


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("scales/small.yaml", "epochs: 2", "epoch: 2", "recipe.epoch: unknown key 'epoch'.*did you mean 'epochs'"),
        ("scales/small.yaml", "optimizer: sgd", "optimizer: sdg", "'sdg' is not a valid value.*did you mean 'sgd'"),
        ("scales/small.yaml", "lr: 0.05", "lr: -1", "-1 is not a valid value.*a number above 0"),
        ("scales/small.yaml", "eps: 1/5", "eps: 0.2", r"threat\.eps: 0\.2 is not a valid value.*exact fraction"),
        ("scales/small.yaml", "lr: 0.05", "lr: fast", "'fast' is not a valid value.*a number above 0"),
        ("scales/small.yaml", "threads: 1", "thread: 1", "unknown key 'thread'.*did you mean 'threads'"),
        ("scales/small.yaml", "threads: 1", "threads: true", "threads: True is not a valid value"),
        ("scales/small.yaml", "bundle: 1\n", "", "top level: the key 'bundle' is missing"),
        ("attacks.yaml", "steps: 1", "stepps: 1", "unknown key 'stepps'.*did you mean 'steps'"),
        ("attacks.yaml", "algorithm: pgd", "algorithm: pdg", "'pdg' is not a valid value.*did you mean 'pgd'"),
        ("attacks.yaml", "    algorithm: none\n", "", "attacks.clean: the key 'algorithm' is missing"),
        ("attacks.yaml", "  clean:", "  Clean:", "attacks.Clean: this is no valid name.*small letters"),
        ("datasets.yaml", "classes:", "clases:", "unknown key 'clases'.*did you mean 'classes'"),
        ("methods.yaml", "color: '#000000'", "color: black", "'black' is not a valid value.*a colour such as"),
    ],
)
def test_it_says_what_is_wrong_where_and_what_is_valid(folder, file, old, new, message):
    text = (folder / file).read_text()
    line = text[: text.index(old)].count("\n") + 1
    (folder / file).write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError, match=f"(?s){message}") as error:
        Config(folder=folder)
    if new:
        assert f"{folder / file}, line {line}" in str(error.value)
