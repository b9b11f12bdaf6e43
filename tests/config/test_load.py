"""Reading config/: layers, names and what extends what."""

from pathlib import Path

import pytest

from robustft.config.load import Config, load_document, merged
from robustft.errors import ConfigError
from robustft.plan import Plan
from tests import toy_config

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small configuration to break."""
    toy_config.write(tmp_path / "config")
    return tmp_path / "config"


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("papers/toy/paper.yaml", "metric: fgsm", "metrik: fgsm", "unknown key 'metrik'.*did you mean 'metric'"),
        ("papers/toy/paper.yaml", "tuning:", "tunning:", "unknown key 'tunning'.*did you mean 'tuning'"),
        ("papers/toy/paper.yaml", "basis: released", "basis: relesed", "unknown basis 'relesed'.*'released'"),
        ("config.yaml", "scale: small", "scale: smal", "there is no scale 'smal'.*did you mean 'small'"),
        ("config.yaml", "papers: all", "papers: [toyy]", "unknown paper 'toyy'.*did you mean 'toy'"),
        ("config.yaml", "scale: small", "scale: small\nscale: small", "the key 'scale' is given twice"),
        ("scales/small.yaml", "device: cpu", "device: cpu: 1", "not valid YAML"),
        ("papers/toy/paper.yaml", "  partial:\n", "  at:\n", "the method 'at' is defined twice"),
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
        ("papers/toy/paper.yaml", "- partial\n", "- partiall\n", "unknown method 'partiall'.*'partial'"),
        ("papers/toy/paper.yaml", "- fgsm\n", "- fsgm\n", "unknown attack 'fsgm'.*'fgsm'"),
        ("papers/toy/paper.yaml", "attack: fgsm", "attack: fsgm", "unknown attack 'fsgm'.*'fgsm'"),
        ("papers/toy/paper.yaml", "- robustness\n", "- robust\n", "unknown evaluation 'robust'.*'robustness'"),
        ("papers/toy/paper.yaml", "pretraining: low_standard", "pretraining: low", "unknown pretraining 'low'"),
        ("papers/toy/paper.yaml", "backbone: tiny", "backbone: tinny", "unknown backbone 'tinny'.*'tiny'"),
        ("scales/small.yaml", "dataset: low", "dataset: loww", "unknown data set 'loww'.*'low'"),
        ("papers/toy/paper.yaml", "left: at", "left: att", "unknown method 'att'.*'at'"),
        ("papers/toy/paper.yaml", "right: partial", "right: partiall", "unknown method 'partiall'.*'partial'"),
        ("scales/small.yaml", "backbone: tiny", "backbone: tinny", "unknown backbone 'tinny'.*'tiny'"),
        ("scales/small.yaml", "method: standard", "method: standart", "unknown method 'standart'.*'standard'"),
        ("scales/small.yaml", "attack: fgsm", "attack: fsgm", "unknown attack 'fsgm'.*'fgsm'"),
    ],
)
def test_a_name_that_nothing_defines_is_named_with_the_nearest(folder, file, old, new, message):
    edit(folder / file, old, new)
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        Plan(Config(folder=folder))


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("scale", {"papers": {"toy": {"experiments": {"mian": {}}}}}, "unknown experiment 'mian'.*small.*'main'"),
        ("scale", {"papers": {"toy": {"evaluations": {"robust": {}}}}}, "unknown evaluation 'robust'.*'robustness'"),
        ("scale", {"papers": {"toy": {"overrides": {"partiall": {}}}}}, "unknown method 'partiall'.*'partial'"),
        ("scale", {"papers": {"toy": {"methods": ["att"]}}}, "unknown method 'att'.*'at'"),
        ("scale", {"attacks": {"fsgm": {"steps": 2}}}, "unknown attack 'fsgm'.*'fgsm'"),
        ("paper", {"evaluations": {"robustness": {"methods": ["att"]}}}, "unknown method 'att'.*toy.*'at'"),
        ("paper", {"tables": {"main": {"rows": ["att"]}}}, "unknown method 'att'.*toy.*'at'"),
    ],
)
def test_a_name_that_would_do_nothing_is_an_error(key, change, message, tmp_path):
    config = toy_config.write(tmp_path / "config", **{key: change})
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        Plan(config)


def test_what_is_checked_of_an_attack_names_attacks():
    """A misspelt one would be compared with nothing, and never raise an alarm."""
    attacks = load_document(ROOT / "config" / "attacks.yaml", "attacks").values["attacks"]
    named = {
        other
        for attack in attacks.values()
        for other in (*attack.get("checks", {}).get("not_weaker_than", []), attack.get("checks", {}).get("gap_to"))
    }
    assert named - {None} <= set(attacks)
    assert len(named) > 5


def test_every_iterated_attack_of_the_catalogue_is_compared_with_a_weaker_one():
    attacks = load_document(ROOT / "config" / "attacks.yaml", "attacks").values["attacks"]
    for name, attack in attacks.items():
        if attack["algorithm"] != "none":
            assert attack["checks"].keys() & {"not_weaker_than", "gap_to"}, name


def test_the_small_configuration_is_sound(folder):
    assert Plan(Config(folder=folder)).runs


def test_tagged_values_are_plain_for_the_plan_and_keep_their_basis():
    document = Config(scale="smoke", papers=["twins"]).papers["twins"]
    assert document.values["experiments"]["main"]["recipe"]["epochs"] == 60
    assert document.bases["experiments.main.recipe.epochs"]["basis"] == "released"
    assert document.bases["experiments.main.recipe.selection"]["basis"] == "ours"


def test_merged_lays_mappings_over_each_other_without_touching_them():
    base = {"a": {"x": 1, "y": 2}, "b": 3}
    assert merged(base, {"a": {"y": 5}, "c": 6}) == {"a": {"x": 1, "y": 5}, "b": 3, "c": 6}
    assert base == {"a": {"x": 1, "y": 2}, "b": 3}


def test_a_scale_that_extends_another_is_laid_over_it(folder):
    (folder / "scales" / "tiny.yaml").write_text(
        "extends: small\nscale: tiny\nabout: Less.\npretraining: {low_standard: {recipe: {epochs: 1}}}\n"
    )
    base, found = Config(scale="small", folder=folder), Config(scale="tiny", folder=folder)
    assert found.scale["scale"] == "tiny"
    assert found.scale["pretraining"]["low_standard"]["recipe"]["epochs"] == 1
    assert found.scale["pretraining"]["low_standard"]["recipe"]["lr"] == 0.05
    assert {key for key in base.scale if base.scale[key] != found.scale[key]} == {"scale", "about", "pretraining"}


def test_a_scale_that_extends_none_that_exists_offers_the_nearest(folder):
    (folder / "scales" / "tiny.yaml").write_text("extends: smal\nscale: tiny\n")
    with pytest.raises(ConfigError, match="there is no scale 'smal'") as error:
        Config(scale="tiny", folder=folder)
    assert "did you mean 'small'" in str(error.value)


def test_scales_that_extend_each_other_are_an_error_that_tells_the_circle(folder):
    (folder / "scales" / "a.yaml").write_text("extends: b\nscale: a\n")
    (folder / "scales" / "b.yaml").write_text("extends: a\nscale: b\n")
    with pytest.raises(ConfigError, match="extends itself") as error:
        Config(scale="a", folder=folder)
    assert "a -> b -> a" in str(error.value)


def test_a_tagged_value_is_replaced_whole():
    """Laid over key by key, the new value would keep the old one's source."""
    published = {"lr": {"value": 1, "basis": "published", "source": "Table 1"}}
    assert merged(published, {"lr": {"value": 2, "basis": "ours"}}) == {"lr": {"value": 2, "basis": "ours"}}


def test_what_extends_another_takes_keys_away_by_a_null(folder):
    (folder / "scales" / "tiny.yaml").write_text("extends: small\nscale: tiny\npretraining: {low_standard: ~}\n")
    assert Config(scale="tiny", folder=folder).scale["pretraining"] == {}
