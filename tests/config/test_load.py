"""All of `config/` for one scale: names of files are checked, layers merged, and nothing is defined twice."""

import pytest
import yaml

from robustft.config.load import Config
from robustft.errors import ConfigError
from tests import toy_config
from tests.plan.toy_plan import FILES, WEIGHTS


@pytest.fixture
def folder(tmp_path):
    """The folder of a small configuration."""
    toy_config.write(tmp_path / "config")
    return tmp_path / "config"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": "smal"}, r"there is no scale 'smal'.*smal\.yaml.*did you mean 'small'"),
        ({"papers": ["toyy"]}, "unknown paper 'toyy'.*papers.*did you mean 'toy'"),
    ],
)
def test_an_unknown_scale_or_paper_is_named_with_the_nearest(folder, arguments, message):
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        Config(folder=folder, **arguments)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"paper": {"methods": {"at": toy_config.method(toy_config.AT)}}}, r"method 'at' is defined twice.*, line \d+"),
        ({"weights": WEIGHTS, "datasets": {"files": FILES}}, r"the file 'published' is given twice.*weights\.yaml"),
    ],
)
def test_what_is_defined_twice_is_an_error_with_its_place(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        toy_config.write(tmp_path, **changes)


def test_a_document_has_plain_values_a_typed_object_and_the_basis_of_values(folder):
    document = Config(folder=folder).papers["toy"]
    assert document.path == folder / "papers" / "toy" / "paper.yaml"
    assert document.values["threat"]["eps"] == document.typed.threat.eps == "1/5"
    assert document.bases["threat.eps"] == {"basis": "released", "source": "a script"}


def test_a_paper_may_use_the_shared_methods_and_its_own(folder):
    config = Config(folder=folder)
    assert set(config.methods(None)) == {"standard", "at"}
    assert set(config.methods("toy")) == {"standard", "at", "partial"}


def test_a_scale_may_switch_an_optimization_and_extend_another_scale(folder):
    tiny = {"extends": "small", "scale": "tiny", "optimizations": {"needed_tokens": False}}
    (folder / "scales" / "tiny.yaml").write_text(yaml.safe_dump(tiny))
    base, config = Config(folder=folder), Config(scale="tiny", folder=folder)
    assert (base.scale["scale"], base.scale["bundle"]) == ("small", 1)
    assert (config.scale["scale"], config.scale["bundle"]) == ("tiny", 1)
    assert {name for name, on in config.optimizations.items() if not on} == {"needed_tokens"}
    assert all(base.optimizations.values())


def test_a_scale_and_a_paper_say_what_all_papers_are(folder):
    (folder / "papers" / "other").mkdir()
    toy = yaml.safe_load((folder / "papers" / "toy" / "paper.yaml").read_text())
    own = {**toy, "paper": "other", "scales": ["tiny"], "methods": {}}
    (folder / "papers" / "other" / "paper.yaml").write_text(yaml.safe_dump(own))
    for name, more in (("tiny", {}), ("lone", {"only": ["toy"]}), ("wrong", {"only": ["toi"]})):
        scale = {"extends": "small", "scale": name, **more}
        (folder / "scales" / f"{name}.yaml").write_text(yaml.safe_dump(scale))
    names = {scale: list(Config(scale=scale, folder=folder)._paper_names("all")) for scale in ("small", "tiny", "lone")}
    assert names == {"small": ["toy"], "tiny": ["other", "toy"], "lone": ["toy"]}
    with pytest.raises(ConfigError, match=r"(?s)unknown paper 'toi'.*did you mean 'toy'"):
        Config(scale="wrong", folder=folder)


def test_downloads_are_those_of_data_and_of_weights(tmp_path):
    config = toy_config.write(tmp_path, weights=WEIGHTS, datasets={"files": {"archive": FILES["archive"]}})
    assert config.files == FILES
    assert set(config.weights) == {"robust"}


@pytest.mark.parametrize("name", ["../scales/small", "small; id", "small\n", "$(id)", "/etc/passwd", "a" * 5000])
def test_a_name_of_a_scale_is_no_path_and_no_shell_text(name, folder):
    with pytest.raises(ConfigError, match="is no name of a scale"):
        Config(scale=name, folder=folder)


@pytest.mark.parametrize("papers", [5, {"a": 1}, [["toy"]], "toy\n", "../papers/toy"])
def test_papers_are_names(papers, folder):
    with pytest.raises(ConfigError, match=r"papers must be|unknown paper"):
        Config(scale="small", papers=papers, folder=folder)


def test_the_order_of_papers_changes_nothing():
    """`--papers` in another order made findings: the manifest's specification lists them."""
    one, other = (Config(scale="smoke", papers=names) for names in (["twins", "adapt"], ["adapt", "twins", "adapt"]))
    assert list(one.papers) == list(other.papers) == ["adapt", "twins"]


def test_a_name_does_not_end_in_a_line_break(folder):
    """`$` of a pattern matches before a final one, and names become shell text of the rules."""
    path = folder / "methods.yaml"
    path.write_text(path.read_text().replace("  at:\n", '  "at\\n":\n').replace("  at: ", '  "at\\n": '))
    with pytest.raises(ConfigError, match="no valid name"):
        Config(scale="small", folder=folder)
