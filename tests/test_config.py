"""Reading config/: closed schemas, exact values, errors that name the nearest valid key."""

import json
import shutil
from pathlib import Path

import jsonschema
import pytest

from pipeline.config import Config, load_document, merged
from pipeline.errors import ConfigError
from pipeline.plan import Plan

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of config/ to break."""
    return Path(shutil.copytree(ROOT / "config", tmp_path / "config"))


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize("schema", sorted((ROOT / "config" / "schemas").glob("*.json")), ids=lambda p: p.stem)
def test_each_schema_is_a_valid_schema_and_closed(schema):
    content = json.loads(schema.read_text())
    jsonschema.Draft202012Validator.check_schema(content)

    def closed(node: object) -> None:
        if isinstance(node, dict):
            if "properties" in node:
                assert node.get("additionalProperties") is False, node
            for value in node.values():
                closed(value)
        elif isinstance(node, list):
            for value in node:
                closed(value)

    closed(content)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("scales/demo.yaml", "epochs: 24", "epoch: 24", "unknown key 'epoch'.*did you mean 'epochs'"),
        ("scales/demo.yaml", "selection: last", "selection: lust", "'lust' is not a valid value.*did you mean 'last'"),
        ("scales/demo.yaml", "lr: 0.05", "lr: -1", "-1 is less than or equal to the minimum"),
        ("scales/demo.yaml", "threads: 1", "thread: 1", "unknown key 'thread'.*did you mean 'threads'"),
        ("attacks.yaml", "steps: 10", "stepps: 10", "unknown key 'stepps'.*did you mean 'steps'"),
        ("datasets.yaml", "classes: [0, 1", "clases: [0, 1", "unknown key 'clases'.*did you mean 'classes'"),
        ("papers/twins.yaml", "metric: clean", "metrik: clean", "unknown key 'metrik'.*did you mean 'metric'"),
        ("papers/twins.yaml", "basis: released", "basis: relesed", "unknown basis 'relesed'.*'released'"),
        ("config.yaml", "scale: demo", "scale: demmo", "there is no scale 'demmo'.*did you mean 'demo'"),
        ("config.yaml", "papers: all", "papers: [twin]", "unknown paper 'twin'.*did you mean 'twins'"),
        ("config.yaml", "scale: demo ", "scale: demo\nscale: demo ", "the key 'scale' is given twice"),
        ("scales/demo.yaml", "device: cpu ", "device: cpu: ", "not valid YAML"),
        ("scales/demo.yaml", "reproduces: false\n", "", "the key 'reproduces' is missing"),
        (
            "papers/twins.yaml",
            "trades_released:\n    title",
            "trades:\n    title",
            "the method 'trades' is defined twice",
        ),
    ],
)
def test_a_wrong_key_or_value_is_named_with_the_nearest_right_one(folder, file, old, new, message):
    edit(folder / file, old, new)
    with pytest.raises(ConfigError, match=f"(?s){message}") as error:
        Config(folder=folder)
    assert file.split("/")[-1].split(".")[0] in str(error.value) or "papers" in str(error.value)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("papers/twins.yaml", "- twins_at\n", "- twins_att\n", "unknown method 'twins_att'.*'twins_at'"),
        ("papers/twins.yaml", "[clean, fgsm, pgd10", "[clean, fsgm, pgd10", "unknown attack 'fsgm'.*'fgsm'"),
        ("papers/twins.yaml", "evaluations: [robustness]", "evaluations: [robust]", "unknown evaluation 'robust'"),
        ("scales/demo.yaml", "dataset: digits_0to4", "dataset: digits_0to5", "unknown data set 'digits_0to5'"),
        ("scales/demo.yaml", "{resnet50: resnet_digits}", "{resnet50: resnet_digit}", "unknown backbone"),
        ("scales/demo.yaml", "{imagenet_linf_4: digits_at}", "{imagenet_linf_4: digits}", "unknown pretraining"),
    ],
)
def test_a_name_that_nothing_defines_is_named_with_the_nearest(folder, file, old, new, message):
    edit(folder / file, old, new)
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        Plan(Config(folder=folder))


def test_a_float_epsilon_is_refused_since_it_would_not_be_exact(folder):
    edit(folder / "papers" / "twins.yaml", "eps: {value: 8/255", "eps: {value: 0.031")
    with pytest.raises(ConfigError, match=r"(?s)threat\.eps.*exact fraction"):
        Config(folder=folder)


def test_tagged_values_are_plain_for_the_plan_and_keep_their_basis():
    document = load_document(ROOT / "config" / "papers" / "twins.yaml", "paper")
    assert document.values["experiments"]["main"]["recipe"]["epochs"] == 60
    assert document.bases["experiments.main.recipe.epochs"]["basis"] == "released"
    assert document.bases["experiments.main.recipe.selection"]["basis"] == "ours"


def test_merged_lays_mappings_over_each_other_without_touching_them():
    base = {"a": {"x": 1, "y": 2}, "b": 3}
    assert merged(base, {"a": {"y": 5}, "c": 6}) == {"a": {"x": 1, "y": 5}, "b": 3, "c": 6}
    assert base == {"a": {"x": 1, "y": 2}, "b": 3}
