"""A paper's folder: files of keys, experiments and methods that extend others, default tables, claims as CSV."""

import pytest
import yaml

from robustft.config.load import Config
from robustft.config.paper_folder import read_claims, read_paper
from robustft.errors import ConfigError
from tests import toy_config


@pytest.fixture
def folder(tmp_path):
    """The folder of a small paper."""
    toy_config.write(tmp_path / "config")
    return tmp_path / "config" / "papers" / "toy"


def paper(folder):
    return Config(folder=folder.parents[1]).papers["toy"]


def change(folder, **parts):
    """Replace keys of paper.yaml; None takes one away."""
    values = {**yaml.safe_load((folder / "paper.yaml").read_text()), **parts}
    kept = {key: value for key, value in values.items() if value is not None}
    (folder / "paper.yaml").write_text(yaml.safe_dump(kept, sort_keys=False))
    return values


def test_other_files_hold_other_keys_and_methods_may_extend_the_shared_ones(folder):
    change(folder, methods=None)
    (folder / "methods.yaml").write_text("methods: {mine: {extends: at, title: Mine}}\n")
    assert read_paper(folder, {"at": {"title": "AT", "color": "#000000"}}).values["methods"] == {
        "mine": {"title": "Mine", "color": "#000000"}
    }


def test_a_key_that_two_files_give_is_an_error(folder):
    (folder / "more.yaml").write_text("title: Again\n")
    with pytest.raises(ConfigError, match=r"(?s)the key 'title' is given twice.*more.yaml"):
        paper(folder)


def experiments(folder, **files):
    main = yaml.safe_load((folder / "paper.yaml").read_text())["experiments"]["main"]
    (folder / "experiments").mkdir()
    for name, content in {"main": main, **files}.items():
        (folder / "experiments" / f"{name}.yaml").write_text(yaml.safe_dump(content))
    change(folder, experiments=["main", *files])


def test_an_experiment_is_a_file_that_may_extend_another(folder):
    experiments(folder, other={"extends": "main", "seeds": [5], "recipe": {"epochs": 9}})
    found = paper(folder).values["experiments"]
    assert list(found) == ["main", "other"]
    assert found["other"]["seeds"] == [5]
    assert found["other"]["recipe"] == {**found["main"]["recipe"], "epochs": 9}


def test_a_wrong_value_is_found_in_the_experiments_file(folder):
    experiments(folder, other={"extends": "main", "recipe": {"epoch": 9}})
    with pytest.raises(ConfigError, match=r"(?s)other.recipe.epoch: unknown key.*other.yaml, line 3.*'epochs'"):
        paper(folder)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"other": {"extends": "mian"}}, r"unknown experiment.*'mian'.*did you mean 'main'"),
        ({"a": {"extends": "b"}, "b": {"extends": "a"}}, r"'a' extends itself.*a -> b -> a"),
    ],
)
def test_what_extends_nothing_or_itself_is_an_error(folder, files, message):
    experiments(folder, **files)
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        paper(folder)


def test_an_experiment_that_the_list_does_not_name_is_an_error(folder):
    experiments(folder)
    (folder / "experiments" / "more.yaml").write_text("extends: main\n")
    with pytest.raises(ConfigError, match="'more' is not in the paper's list"):
        paper(folder)


def test_an_experiment_with_a_title_has_a_table_of_all_that_it_measures(folder):
    main = change(folder, tables=None, caption="C")["experiments"]["main"]
    evaluations = yaml.safe_load((folder / "paper.yaml").read_text())["evaluations"]
    change(folder, evaluations=None, experiments={"main": {**main, "title": "T", "evaluations": evaluations}})
    values = paper(folder).values
    assert values["tables"] == {
        "main": {"title": "T", "experiment": "main", "columns": ["clean", "fgsm"], "caption": "C"}
    }
    assert values["evaluations"] == evaluations
    assert values["experiments"]["main"]["evaluations"] == ["robustness"]


def test_claims_are_rows_whose_empty_cells_say_nothing(folder):
    change(folder, claims=None)
    (folder / "claims.csv").write_text(
        "# a comment\nid,kind,experiment,method,left,right,metric,value,confidence,statement,source\n"
        "a,ordering,main,,at,partial,fgsm,,direct,S,abstract\n"
        "b,value,main,at,,,fgsm,1.50,secondary,S,T\nc,value,main,at,,,fgsm,missing,missing,S,T\n"
    )
    ordering, value, missing = paper(folder).values["claims"]
    assert "value" not in ordering
    assert value["value"] == 1.5
    assert missing["value"] == "missing"


def test_published_tables_are_csv_files_with_the_names_that_are_printed(folder):
    (folder / "claims.yaml").write_text(
        "paper: toy\nreasons: {}\ntables:\n  t: {about: A, source: S, confidence: direct}\n"
        "  u: {about: A, source: S, confidence: missing, unread: not read}\n"
    )
    (folder / "claims").mkdir()
    (folder / "claims" / "t.csv").write_text("metric,method,One,Two\nclean,A,1.00,\nclean,B,missing,3\n")
    table = read_claims(folder).values["tables"]["t"]
    assert table["columns"] == ["One", "Two"]
    assert table["rows"] == {"clean": {"A": [1.0, None], "B": ["missing", 3]}}


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("experiments/other.yaml", "- a\n- list\n", "the file is no mapping"),
        ("experiments/other.yaml", "title: A table of nothing\n", "experiments.other: the key '.*' is missing"),
        ("experiments/other.yaml", "extends: main\nevaluations: [{a: b}]\ntitle: T\n", "experiments.other"),
        ("report.yaml", "tables: {mine: }\n", "tables.mine: this is no mapping"),
        ("report.yaml", "caption: C\norder: [other, minne]\n", "unknown table 'minne'"),
    ],
)
def test_a_damaged_file_of_a_paper_is_one_message(folder, file, content, message):
    """A file cut in the middle ended in a KeyError."""
    experiments(folder, other={"extends": "main", "title": "A table"})
    tables = yaml.safe_load((folder / "paper.yaml").read_text())["tables"]
    change(folder, tables=None)
    (folder / "report.yaml").write_text(yaml.safe_dump({"tables": tables, "caption": "A caption."}))
    paper(folder)
    (folder / file).write_text(content)
    with pytest.raises(ConfigError, match=message) as raised:
        paper(folder)
    assert "where:" in str(raised.value)
