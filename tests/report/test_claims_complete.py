"""Nothing on record of the papers is missing from the configuration, and every claim is measured by the plan."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from robustft.config.load import Config
from robustft.files import ROOT
from robustft.plan import Plan
from robustft.report.claim_matching import matching_members, operands, unmeasured
from robustft.report.claims import MISSING, cells, counts, expanded
from robustft.report.training_metrics import TRAINING_METRICS

RECORD = ROOT.parent / "shared" / "papers"
"""The record of each paper, one file a paper. It is beside the checkout, not in it."""

PAPERS = sorted(path.parent.name for path in (ROOT / "config" / "papers").glob("*/claims.yaml"))
"""The papers with tables of published values."""

CONFIDENCE = {"direct": "direct", "direct_other": "secondary", "secondary": "secondary", "none": MISSING}
"""`direct_other` is a number's own origin that is not the paper; of the paper it is secondary."""

THREE, GAIN = "ensemble fine-tuning (three models)", "Selfie minus baseline"
LAST = "ensemble fine-tuning minus Selfie"

# Cells that are claims of a paper's own file: by table, the claim, and method, data set and metric as on record.
INLINE: dict[tuple[str, str], dict[str, tuple[str, str, str]]] = {
    ("adapt", "abstract"): {
        "robust_40": ("ADAPT", MISSING, "robust_accuracy"),
        "one_percent": ("ADAPT", MISSING, "tuned_parameters_percent_of_model"),
    },
    ("adv_ss_pretraining", "abstract"): {
        "gain_robust_selfie": (GAIN, "cifar10", "robust_gain"),
        "gain_clean_selfie": (GAIN, "cifar10", "clean_gain"),
        "gain_robust_ensemble_of_three": (LAST, "cifar10", "robust_gain"),
        "gain_clean_ensemble_of_three": (LAST, "cifar10", "clean_gain"),
    },
    ("adv_ss_pretraining", "robustbench_chen2020adversarial"): {
        "value_clean_ensemble_later": (THREE, "cifar10", "clean"),
        "value_robust_ensemble_later": (THREE, "cifar10", "robust_reported"),
        "value_autoattack_ensemble_later": (THREE, "cifar10", "autoattack_standard"),
    },
    ("pmg_aft", "pmg_abstract_claims"): {
        "gain_robust": ("PMG-AFT", "Average15", "robust_gain_over_previous_best"),
        "gain_clean": ("PMG-AFT", "Average15", "clean_gain_over_previous_best"),
    },
    ("pmg_aft", "pmg_summary_averages"): {
        "pmg_aft_robust": ("PMG-AFT", "Average15", "robust"),
        "pmg_aft_clean": ("PMG-AFT", "Average15", "clean"),
        "tecoa_robust": ("FT-TeCoA", "Average15", "robust"),
        "tecoa_clean": ("FT-TeCoA", "Average15", "clean"),
        "pmg_aft_robust_imagenet": ("PMG-AFT", "ImageNet", "robust"),
        "tecoa_robust_imagenet": ("baseline_unnamed (assumed FT-TeCoA)", "ImageNet", "robust"),
    },
}

FOUND = {
    "figure1_epochs": "main_p_by_f",
    "unread_pretrain_by_finetune": "main_p_by_f",
    "unread_ensemble": "ensemble_pretraining",
    "unread_unseen_attacks": "radar_ours_vs_baseline",
}
"""Tables of which the record has no value, and where their values were found later (tests/config)."""

OTHER_SPLITS = {"twins": {("autolora_table2", "caltech256")}}
"""AutoLoRa splits Caltech-256 another way and tests on 3,549 images: never comparable, and the verdict says so."""

VIT_B_PARAMETERS = 85_152_010
"""The abstract of ADAPT says 1 %; the claim, which is held against a count, says of what."""


@pytest.fixture(scope="module")
def config() -> Config:
    return Config(scale="paper")


@pytest.fixture
def record(paper: str) -> dict[str, Any]:
    """The record of one paper; libyaml, as in Config, or this would take most of the test's time."""
    path = RECORD / f"{paper}.yaml"
    if not path.is_file():
        pytest.skip(f"the record of {paper} is not beside this checkout ({path})")
    return yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


Key = tuple[str, str, str, float | str, str]
"""Method, data set and metric as published, value, confidence."""


def keyed(method: str, dataset: str, metric: str, value: Any, confidence: str) -> Key:
    return (method, dataset, metric, value, MISSING if value == MISSING else confidence)


def recorded(tree: Any, where: str = "", dataset: str = "-") -> Iterator[tuple[str, Key]]:
    """Yield every cell of a record, wherever it stands, with the table that it is of."""
    if isinstance(tree, list):
        for part in tree:
            yield from recorded(part, where, dataset)
    elif isinstance(tree, dict) and {"method", "metric", "value"} <= set(tree) and isinstance(tree["method"], str):
        method = f"{tree['method']} {tree['arch']}" if "arch" in tree else tree["method"]
        value, confidence = tree["value"], CONFIDENCE[tree.get("confidence", "none")]
        yield where, keyed(method, tree.get("dataset", dataset), tree["metric"], value, confidence)
    elif isinstance(tree, dict):
        here = tree.get("id", where)
        for key, part in tree.items():
            own = tree.get("dataset", dataset)
            yield from recorded(part, here or key.split("_")[0], own if isinstance(own, str) else dataset)


def configured(config: Config, paper: str, tables: set[str]) -> dict[str, Counter[Key]]:
    """Return the cells of the configuration by the record's table: a longer name is a part of that table."""
    by_table: dict[str, Counter[Key]] = {}

    def table_of(name: str) -> str:
        return max((table for table in tables if name.startswith(table)), key=len, default=name)

    for cell in cells(config.claims[paper]):
        key = keyed(cell.method, cell.dataset, cell.metric, cell.value, cell.confidence)
        by_table.setdefault(table_of(cell.table), Counter())[key] += 1
    claims = {claim["id"]: claim for claim in config.papers[paper].values["claims"]}
    for (owner, table), named in INLINE.items():
        for id, names in named.items() if owner == paper else ():
            value = claims[id]["value"]
            value = 1 if id == "one_percent" and value == round(0.01 * VIT_B_PARAMETERS) else value
            by_table.setdefault(table, Counter())[keyed(*names, value, claims[id]["confidence"])] += 1
    return by_table


@pytest.mark.parametrize("paper", PAPERS)
def test_every_cell_on_record_is_in_the_configuration_once_with_its_value_and_confidence(paper, config, record):
    expected: dict[str, Counter[Key]] = {}
    for table, key in recorded(record):
        expected.setdefault(table, Counter())[key] += 1
    observed = configured(config, paper, set(expected))
    for table, keys in expected.items():
        if table in FOUND and {key[3] for key in keys} == {MISSING}:
            continue
        assert observed.get(table, Counter()) == keys, f"{paper}: {table}"


@pytest.mark.parametrize("paper", PAPERS)
def test_every_table_on_record_is_in_the_configuration_even_if_it_could_not_be_read(paper, config, record):
    known = {*config.claims[paper]["tables"], *(table for owner, table in INLINE if owner == paper)}
    for table in record.get("tables", []):
        name = FOUND.get(table["id"], table["id"])
        assert any(one.startswith(name) for one in known), table["id"]


@pytest.mark.parametrize("paper", PAPERS)
def test_every_qualitative_claim_on_record_is_judged_or_says_why_not(paper, config, record):
    statements = {one["id"]: one for one in config.claims[paper].get("statements", [])}
    for claim in record.get("qualitative_claims", []):
        assert claim["id"] in statements, claim
        level = claim["confidence"].split("_")[0]
        assert statements[claim["id"]]["confidence"] == level, claim


@pytest.mark.parametrize("paper", PAPERS)
def test_a_statement_is_judged_by_claims_that_exist(paper, config):
    ids = {claim["id"] for claim in config.papers[paper].values["claims"]}
    for statement in config.claims[paper].get("statements", []):
        assert set(statement.get("judged_by", [])) <= ids, statement


# -- the plan ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plan(config) -> Plan:
    return Plan(config)


def claims_of(plan: Plan, paper: str) -> list[dict[str, Any]]:
    spec = plan.step("verdicts", paper).spec
    return [*spec["claims"], *(claim for table in spec.get("tables", []) for claim in table["claims"])]


@pytest.mark.parametrize("paper", PAPERS)
def test_every_claim_is_measured_at_the_papers_own_scale(paper, plan):
    runs = [run for run in plan.runs if run.paper == paper]
    trainings = [{"experiment": run.experiment, "dataset": run.dataset, "method": run.method} for run in runs]
    members = plan.step("verdicts", paper).spec["members"]
    claims = claims_of(plan, paper)
    assert claims
    assert unmeasured(claims, members, trainings, training_metrics=TRAINING_METRICS) == []


@pytest.mark.parametrize("paper", PAPERS)
def test_no_published_value_rests_on_fewer_than_three_seeds_or_on_a_stand_in(paper, plan):
    """It would be inconclusive or not comparable whatever is measured."""
    members = plan.step("verdicts", paper).spec["members"]
    for claim in claims_of(plan, paper):
        assert "stand_in" not in claim, claim
        for operand in (operand for operand in operands(claim) if operand[1] not in TRAINING_METRICS):
            assert len({one["seed"] for one in matching_members(claim, members, operand)}) >= 3, (claim["id"], operand)


@pytest.mark.parametrize("paper", PAPERS)
def test_whether_a_model_is_guessing_can_be_seen_of_every_side_of_a_claim(paper, plan):
    """Its clean accuracy is measured, on test images."""
    spec = plan.step("verdicts", paper).spec
    clean = {
        (one["experiment"], one["trained_on"], one["method"], one["seed"])
        for one in spec["members"]
        if one["split"] == "test" and set(spec["clean"]) & set(one["attacks"])
    }
    for claim in claims_of(plan, paper):
        for operand in operands(claim):
            for one in matching_members(claim, spec["members"], operand):
                assert (one["experiment"], one["trained_on"], one["method"], one["seed"]) in clean, (claim["id"], one)


@pytest.mark.parametrize("paper", PAPERS)
def test_every_margin_with_a_reason_is_one_of_a_claim(paper, config, plan):
    assert plan.step("verdicts", paper).spec["margins"] == config.papers[paper].values["margins"]


@pytest.mark.parametrize("paper", PAPERS)
def test_published_values_are_measured_on_the_published_number_of_images(paper, plan):
    images: Counter[str] = Counter()
    for evaluation in plan.evaluations:
        start, stop = evaluation.step.spec["images"]
        images[evaluation.step.id] += stop - start
    members = plan.step("verdicts", paper).spec["members"]
    other = set()
    for claim in claims_of(plan, paper):
        if claim["kind"] == "ordering" or claim["value"] == MISSING or claim["metric"] in TRAINING_METRICS:
            continue
        counted: Counter[tuple[str, int]] = Counter()
        there = dict(claim.get("images", {}))
        for one in matching_members(claim, members, operands(claim)[0]):
            counted[one["dataset"], one["seed"]] += images[one["ledger"]]
            there.setdefault(one["dataset"], one["split_images"])
        if any(count != there[dataset] for (dataset, _), count in counted.items()):
            other.add((claim.get("table"), claim.get("dataset")))
    assert other == OTHER_SPLITS.get(paper, set())


def test_the_counts_are_those_of_the_documents(config):
    by_paper = counts({paper: (config.papers[paper].values["claims"], config.claims[paper]) for paper in PAPERS})
    for paper in PAPERS:
        inline = config.papers[paper].values["claims"]
        judged = sum(by_paper[paper]["confidence"].values())
        assert judged == len(inline) + len(expanded(config.claims[paper]))
        assert judged + sum(by_paper[paper]["outside"].values()) == len(inline) + len(list(cells(config.claims[paper])))
