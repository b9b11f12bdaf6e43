"""Long tables of published values: each cell becomes a claim or says why not, and nothing is lost on the way."""

import copy

import pytest

from robustft.config.load import Config, load_document
from robustft.errors import ConfigError
from robustft.files import ROOT
from robustft.report.claims import beside, cells, counts, describe_counts, expanded, outside

DOCUMENT = {
    "paper": "toy",
    "reasons": {"other_method": "not run here", "other_eps": "another bound", "other_average": "another list"},
    "methods": {
        "Ours": "at",
        "Grid": {"method": "at_slow", "experiment": "grid"},
        "Theirs": {"outside": "other_method"},
    },
    "datasets": {
        "One": {"dataset": "one", "images": 100},
        "Two": {"dataset": "two", "images": 50},
        "Far": {"dataset": "far", "experiment": "far"},
        "Mean": {"average_of": ["One", "Two"]},
        "Other": {"outside": "other_average"},
    },
    "metrics": {"robust": {"metric": "pgd", "evaluations": ["zero_shot"]}, "clean": "clean"},
    "tables": {
        "t1": {
            "about": "a table",
            "source": "Paper, Table 1",
            "confidence": "secondary",
            "experiment": "main",
            "decimals": 1,
            "columns": ["One", "Mean", "Other"],
            "rows": {"robust": {"Ours": [10.5, 20.0, 30.0], "Theirs": [1.0, None, 3.0], "Grid": "missing"}},
        },
        "t2": {"about": "b", "source": "s", "confidence": "missing", "unread": "nothing is known of it"},
    },
    "statements": [
        {"id": "q1", "claim": "c", "source": "s", "confidence": "direct", "judged_by": ["x"]},
        {"id": "q2", "claim": "c", "source": "s", "confidence": "direct", "outside": "other_eps"},
    ],
}


@pytest.fixture
def document() -> dict:
    return copy.deepcopy(DOCUMENT)


def test_a_cell_becomes_a_claim_in_the_shape_of_a_papers_own(document):
    assert expanded(document)[0] == {
        "id": "t1__robust__ours__one",
        "statement": "Ours on One, robust",
        "kind": "value",
        "table": "t1",
        "cell": ["robust", "Ours", "One"],
        "experiment": "main",
        "evaluation": ["zero_shot"],
        "dataset": "one",
        "method": "at",
        "metric": "pgd",
        "value": 10.5,
        "decimals": 1,
        "margin": 1.0,
        "images": {"one": 100},
        "source": "Paper, Table 1",
        "confidence": "secondary",
    }


def test_an_average_names_its_data_sets(document):
    average = expanded(document)[1]
    assert average["datasets"] == ["one", "two"]
    assert average["images"] == {"one": 100, "two": 50}
    assert "dataset" not in average


def test_a_table_may_have_a_margin_of_its_own(document):
    document["tables"]["t1"]["margin"] = 2.5
    assert {claim["margin"] for claim in expanded(document)} == {2.5}


def test_a_row_that_could_not_be_read_is_missing_in_each_column_and_has_its_own_experiment(document):
    unread = expanded(document)[2:]
    assert [(claim["value"], claim["confidence"], claim["experiment"]) for claim in unread] == [
        ("missing", "missing", "grid")
    ] * 2
    assert [claim["method"] for claim in unread] == ["at_slow"] * 2


def test_a_value_read_off_a_plot_carries_its_tolerance(document):
    document["tables"]["t1"] |= {"confidence": "direct", "read_off": 0.3}
    claim = expanded(document)[0]
    assert (claim["confidence"], claim["read_off"]) == ("direct", 0.3)
    assert counts({"toy": ([], document)})["toy"]["confidence"] == {"read off": 2, "missing": 2}


def test_an_average_over_data_sets_of_several_experiments_is_about_all_of_them(document):
    document["datasets"]["Mean"] = {"average_of": ["One", "Far"]}
    document["datasets"]["One"]["experiment"] = "near"
    average = expanded(document)[1]
    assert (average["experiment"], average["datasets"]) == (["near", "far"], ["one", "far"])


def test_beside_a_figure_names_are_ours_where_they_are_translated(document):
    document["tables"]["t1"]["outside"] = "other_eps"
    shown = [tuple(row.values()) for row in beside(document, "t1")]
    assert shown[:3] == [("pgd", "at", "one", 10.5), ("pgd", "at", "Mean", 20.0), ("pgd", "at", "Other", 30.0)]
    assert ("pgd", "Theirs", "one", 1.0) in shown
    assert len(shown) == 5  # without the row that could not be read and the cell that is not in the source


def test_what_no_run_corresponds_to_is_kept_with_its_reason(document):
    assert [(cell.method, cell.dataset, cell.value, cell.outside) for cell in outside(document)] == [
        ("Ours", "Other", 30.0, "other_average"),
        ("Theirs", "One", 1.0, "other_method"),
        ("Theirs", "Other", 3.0, "other_method"),  # one reason each; the method's is asked first
        ("Grid", "Other", "missing", "other_average"),
    ]


def test_every_cell_is_a_claim_or_outside_and_an_empty_one_is_neither(document):
    found = list(cells(document))
    assert len(found) == 8  # nine cells, of which one is not in the source
    assert all((cell.claim is None) != (cell.outside is None) for cell in found)


def test_a_table_may_lay_its_own_mapping_over_the_documents(document):
    table = document["tables"]["t1"]
    table["methods"] = {"Ours": "trades"}
    table["metrics"] = {"robust": "aa"}
    claim = expanded(document)[0]
    assert (claim["method"], claim["metric"], "evaluation" in claim) == ("trades", "aa", False)


def test_a_whole_table_may_be_outside_and_then_needs_no_mapping(document):
    table = document["tables"]["t1"]
    table |= {"outside": "other_eps", "rows": {"speed": {"Anything": [1.0, 2.0, 3.0]}}}
    assert [cell.outside for cell in cells(document)] == ["other_eps"] * 3


def test_a_data_set_may_have_an_experiment_of_its_own(document):
    document["tables"]["t1"] |= {"columns": ["Far"], "rows": {"clean": {"Ours": [1.0], "Grid": [2.0]}}}
    assert [claim["experiment"] for claim in expanded(document)] == ["far", "far"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": {"robust": {"Ours": [1.0, 2.0]}}}, "a row has not one value for each column"),
        ({"rows": {"robust": {"Our": [1.0, 2.0, 3.0]}}}, "unknown published method 'Our'(.|\n)*did you mean 'Ours'"),
        ({"rows": {"robst": {"Ours": [1.0, 2.0, 3.0]}}}, "unknown published metric 'robst'(.|\n)*'robust'"),
        ({"columns": ["One", "Mean", "Else"]}, "unknown published dataset 'Else'"),
        ({"outside": "other_epss"}, "unknown reason 'other_epss'(.|\n)*'other_eps'"),
        ({"rows": {"robust": {"Ours": [1.25, 2.0, 3.0]}}}, "more digits than 'decimals' says"),
        ({"datasets": {"Two": {"outside": "other_eps"}}}, "an average is over a data set that is outside"),
        (
            {"methods": {"Theirs": "at"}, "columns": ["One", "One", "Other"]},
            "two cells are named t1__robust__ours__one",
        ),
    ],
)
def test_a_slip_in_a_table_is_an_error_that_says_where(change, message, document):
    document["tables"]["t1"] |= change
    with pytest.raises(ConfigError, match=message) as error:
        expanded(document)
    assert "config/papers/toy/claims.yaml" in str(error.value)


def test_a_matched_cell_needs_an_experiment(document):
    del document["tables"]["t1"]["experiment"]
    with pytest.raises(ConfigError, match="to no experiment"):
        expanded(document)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("confidence: secondary", "confidence: guessed", "'guessed' is not a valid value"),
        ("outside: other_eps", "outsde: other_eps", "unknown key 'outsde'.*did you mean 'outside'"),
        ("columns: [One]", "colums: [One]", "unknown key 'colums'.*did you mean 'columns'"),
        ("rows: {clean: {A: [1.0]}}", "rows: {clean: {A: [x]}}", "rows.clean.A"),
    ],
)
def test_the_form_is_closed(old, new, message, tmp_path):
    text = (
        "paper: toy\nreasons: {other_eps: another bound}\n"
        "methods: {A: at}\ndatasets: {One: one}\nmetrics: {clean: clean}\n"
        "tables:\n  t: {about: a, source: s, confidence: secondary, outside: other_eps, columns: [One],\n"
        "    rows: {clean: {A: [1.0]}}}\n"
    )
    path = tmp_path / "toy.yaml"
    path.write_text(text)
    load_document(path, "claims")
    path.write_text(text.replace(old, new))
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        load_document(path, "claims")


def test_a_table_has_values_or_is_unread_but_not_both(tmp_path):
    path = tmp_path / "toy.yaml"
    head = "paper: toy\nreasons: {}\ntables:\n  t: {about: a, source: s, confidence: missing"
    for body in ("}", ", columns: [One]}", ", unread: x, columns: [One], rows: {clean: {A: missing}}}"):
        path.write_text(f"{head}{body}\n")
        with pytest.raises(ConfigError):
            load_document(path, "claims")


# -- counts ------------------------------------------------------------------------------------------------------------


def test_counts_by_paper(document):
    inline = [
        {"kind": "ordering", "confidence": "direct"},
        {"kind": "value", "confidence": "direct", "value": "missing"},  # direct words without a number
    ]
    found = counts({"toy": (inline, document), "bare": ([], None)})
    assert found["toy"]["confidence"] == {"direct": 1, "missing": 3, "secondary": 2}
    assert found["toy"]["kind"] == {"ordering": 1, "value": 5}
    assert found["toy"]["outside"] == {"other_average": 2, "other_method": 2}
    assert found["toy"]["statements"] == {"judged": 1, "other_eps": 1}
    assert describe_counts(found) == [
        "toy: 6 claims (1 direct, 0 read off, 2 secondary, 3 missing);"
        " outside the DAG 4 (other_average 2, other_method 2); unread tables 1",
        "bare: 0 claims (0 direct, 0 read off, 0 secondary, 0 missing); outside the DAG 0; unread tables 0",
    ]


@pytest.mark.parametrize("paper", sorted(path.parent.name for path in (ROOT / "config/papers").glob("*/claims.yaml")))
def test_the_documents_of_this_project_can_be_read(paper):
    values = Config(scale="smoke", papers=[paper]).claims[paper]
    assert values["paper"] == paper
    assert expanded(values) or outside(values)
    used = {cell.outside for cell in cells(values)} | {one.get("outside") for one in values.get("statements", [])}
    assert used - {None} == set(values["reasons"]), "a reason that nothing uses, or one that is not named"
