"""Time, disk, downloads and chains of the small plan, by hand."""

from __future__ import annotations

import pytest

from robustft.config.load import Config
from robustft.cost import CostModel, costs, urgency
from robustft.cost.disk import LEDGER_BYTES, RECORD_BYTES, ROW_BYTES, left_bytes
from robustft.cost.estimate import Estimate, estimate_steps
from robustft.cost.machines import Machine
from robustft.cost.pricing import IN_BUNDLE_S, PICTURE_S, REPORT_S, START_UP_S
from robustft.cost.selection import steps_for_table
from robustft.errors import RobustftError
from robustft.plan import Plan
from tests import toy_config
from tests.toy_config import method, paper, part, pretraining

MACHINE = Machine("toy", "Toy", "cpu", {"float32": 1.0}, "assumed, not measured", False)
"""At 1 GFLOP/s the small network of 0.0001 GFLOP takes 100, 200 and 300 us for a forward, attack and learn pass."""
ALONE = {"bundle": 0}
MANUAL = {"name": "secret.tar", "manual": "ask for it", "note": "no hash was published"}
FILES = {"plain": {"name": "plain.tar", "urls": ["https://example.org/plain.tar"], "bytes": 5000, "note": "no hash"}}


@pytest.fixture
def planned(tmp_path):
    """Price the small plan with some values replaced."""
    return lambda **changes: CostModel(Plan(toy_config.write(tmp_path / "config", **changes)), MACHINE)


@pytest.fixture
def model(planned):
    return planned(scale=ALONE)


def whole(model: CostModel) -> Estimate:
    return estimate_steps(model, list(model.plan.steps.values()))


def seconds(model: CostModel, kind: str, id: str) -> float:
    return model.seconds(model.plan.step(kind, id)) - START_UP_S


def test_the_time_of_a_run_by_hand(model):
    # 24 images x 2 epochs; 3 splits x 8 images x 2 checks, FGSM and two scores.
    watched = 48 * (200 + 2 * 100)
    assert seconds(model, "train", "toy/main/high/at/seed0") == pytest.approx((48 * (200 + 300) + watched) * 1e-6)
    assert seconds(model, "train", "toy/main/high/partial/seed0") == pytest.approx((48 * 300 + watched) * 1e-6)


def test_the_time_of_an_evaluation_by_hand(model):
    # 20 images: four forward and four attack passes of checks, two for clean ones, two and one for FGSM.
    expected = 20 * ((4 + 2 + 2) * 100 + (4 + 1) * 200) * 1e-6
    assert seconds(model, "attack", "toy/main/high/at/seed0/robustness.1of1") == pytest.approx(expected)


def test_a_run_of_several_processes_holds_as_many_devices(planned):
    one, two = planned(scale=ALONE), planned(scale={**ALONE, "processes": 2})
    step = two.plan.step("train", "toy/main/high/at/seed0")
    assert two.seconds(step) == pytest.approx(START_UP_S + seconds(one, "train", step.id) / 2)
    assert two.device_seconds(step) == pytest.approx(2 * two.seconds(step))


def derived(implementation, **parameters):
    methods = {"both": {**method(), "from": ["at", "partial"], "derivation": part(implementation, **parameters)}}
    return paper(methods=methods, experiment={"methods": ["at", "partial", "both"]})


@pytest.mark.parametrize(
    ("derivation", "networks"),
    [
        (derived("robustft.models.ensemble:mean_of_softmax"), 2),
        (derived("robustft.models.tunings.merging:uniform", defences=["at", "partial"]), 1),
    ],
)
def test_an_ensemble_runs_all_its_networks_and_a_merge_one(planned, derivation, networks):
    model = planned(paper=derivation, scale=ALONE)
    one = seconds(model, "attack", "toy/main/high/at/seed0/robustness.1of1")
    found = seconds(model, "attack", "toy/main/high/both/seed0/robustness.1of1")
    assert found == pytest.approx(networks * one)


def test_only_the_first_step_of_a_bundle_starts_a_process(planned):
    alone, together = planned(scale=ALONE), planned()
    saved = {step.key: alone.seconds(step) - together.seconds(step) for step in alone.plan.steps.values()}
    first = {bundle.steps[0].key for bundle in together.plan.bundles()}
    others = {step.key for bundle in together.plan.bundles() for step in bundle.steps} - first
    assert {key for key, gain in saved.items() if gain > 1e-9} == others
    assert all(saved[key] == pytest.approx(START_UP_S - IN_BUNDLE_S) for key in others)


def test_the_longest_chain_is_data_pretraining_run_attack_and_report(model):
    found = whole(model)
    kinds = [step.kind for step, _ in found.chain]
    assert kinds[:4] == ["data", "train", "train", "attack"]
    assert [step.id for step, _ in found.chain][1] == "pretraining/low_standard"
    assert kinds[4:] in (["numbers", "table", "manifest"], ["numbers", "verdicts", "manifest"])
    worked = [model.seconds(model.plan.step(step.kind, step.id)) for step, _ in found.chain[:4]]
    assert found.chain_s == pytest.approx(sum(worked) + 3 * REPORT_S)


def test_many_devices_are_no_faster_than_the_longest_chain(model):
    found = whole(model)
    assert found.wall_s(1) == pytest.approx(max(found.busy_s, found.chain_s))
    assert found.wall_s(10**6) == pytest.approx(found.chain_s)


def test_what_is_counted(model):
    found = costs(model)
    # Two methods, two seeds, two attacks; the pre-training is no run, but a training.
    assert (found.whole.runs, found.whole.measurements) == (4, 8)
    assert (found.whole.kinds["train"], found.whole.kinds["attack"], found.whole.kinds["data"]) == (5, 4, 1)
    assert found.shared.steps == []


def test_disk_by_hand(model):
    found = whole(model).disk
    # Both views of the source deal 54 images of 8 x 8 bytes; five checkpoints of 1000 numbers; ledgers of 20 x 2 rows.
    assert found["data"] == 54 * 64
    assert found["checkpoints"] == 5 * 1000 * 4
    assert found["reports"] == len(model.plan.steps) * RECORD_BYTES + 4 * (LEDGER_BYTES + 40 * ROW_BYTES)


def downloading(geometry=None, shape=(3, 4, 4), **files):
    """Replace the digits' source by one of files."""
    source = {
        "title": "T",
        "loader": "robustft.data.datasets.digits:load",
        "files": {name: name for name in files},
        "licence": "none",
        "shape": list(shape),
        "levels": 255,
        "images": 1000,
        **({"geometry": geometry} if geometry else {}),
    }
    return {"files": files, "sources": {"pictures": source}, "datasets": {"high": {"source": "pictures"}}}


def test_downloads_with_and_without_a_published_size(planned):
    model = planned(datasets=downloading(plain=FILES["plain"], secret=MANUAL), scale=ALONE)
    found = whole(model)
    assert found.disk["downloads"] == 5000
    assert found.unsized == ["secret"]
    assert found.by_hand == {"secret.tar": "ask for it"}
    assert found.kinds["download"] == 2
    assert model.seconds(model.plan.step("download", "plain")) == 0


def test_pictures_take_their_shape_or_with_a_free_side_a_third_more_than_square(planned):
    def data(geometry):
        model = planned(datasets=downloading(geometry, **FILES), scale=ALONE)
        step = model.plan.step("data", "pictures")
        return left_bytes(step, {})["data"], model.seconds(step)

    assert data(None) == (1000 * 3 * 4 * 4, START_UP_S)
    assert data({"resize": 6, "crop": 4}) == (1000 * 3 * 4 * 4, START_UP_S + 1000 * PICTURE_S)
    assert data({"resize": [4, 4]})[0] == 1000 * 3 * 4 * 4
    assert data({"resize": 6})[0] == pytest.approx(1000 * 3 * 6 * 6 * 4 / 3)


TABLES = {
    "tables": {
        "small": {"title": "T", "experiment": "main", "rows": ["at"], "columns": ["fgsm"], "caption": "C"},
        "hard": {"title": "T", "experiment": "main", "rows": ["at"], "columns": ["pgd2"], "caption": "C"},
    },
    "evaluations": {"more": {"attacks": ["pgd2"], "split": "test", "shard_images": 10, "parts": 2}},
}


def test_a_table_needs_its_rows_columns_and_what_they_start_from(planned):
    model = planned(paper=paper(**TABLES, experiment={"evaluations": ["robustness", "more"]}), scale=ALONE)
    data = ["data:digits", "train:pretraining/low_standard"]
    runs = [f"train:toy/main/high/at/seed{seed}" for seed in (0, 1)]
    small = [f"attack:toy/main/high/at/seed{seed}/robustness.1of1" for seed in (0, 1)]
    hard = [f"attack:toy/main/high/at/seed{seed}/more.{n}of2" for seed in (0, 1) for n in (1, 2)]
    assert {step.key for step in steps_for_table(model.plan, "toy/small")} == {*data, *runs, *small}
    assert {step.key for step in steps_for_table(model.plan, "toy/hard")} == {*data, *runs, *hard}
    found = costs(model, table="toy/small")
    assert found.whole.runs == 2
    assert found.alone["toy"].steps == found.whole.steps


def test_an_unknown_table_is_an_error_that_names_the_nearest(model):
    with pytest.raises(RobustftError, match="toy/mian") as error:
        steps_for_table(model.plan, "toy/mian")
    assert "toy/main" in str(error.value)


def test_shared_pieces_are_counted_once(tmp_path):
    toy_config.write(tmp_path, scale=ALONE)
    first = tmp_path / "papers" / "toy" / "paper.yaml"
    text = first.read_text(encoding="utf-8").replace("paper: toy", "paper: second").replace("partial", "partly")
    (tmp_path / "papers" / "second").mkdir()
    (tmp_path / "papers" / "second" / "paper.yaml").write_text(text, encoding="utf-8")
    model = CostModel(Plan(Config(folder=tmp_path)), MACHINE)
    found = costs(model)
    assert {step.key for step in found.shared.steps} == {"data:digits", "train:pretraining/low_standard"}
    parts = [found.shared, *found.papers.values()]
    keys = [step.key for part in parts for step in part.steps]
    assert len(keys) == len(set(keys))
    assert set(model.plan.steps) - set(keys) == {"manifest:small"}
    assert found.alone["toy"].chain_s == pytest.approx(found.alone["second"].chain_s)


def test_a_method_without_a_rule_and_a_backbone_without_a_measurement_are_named(model):
    assert model.assumptions(model.plan.steps.values()) == {"backbones": ["tiny"], "methods": []}


def test_a_bundle_that_others_wait_for_is_more_urgent_by_what_they_take(planned):
    model = planned(paper=derived("robustft.models.ensemble:mean_of_softmax"))
    found = urgency(model.plan)
    priced = CostModel(model.plan)
    own = {b.name: sum(priced.seconds(step) for step in b.steps) for b in model.plan.bundles()}
    at, partial, both = (f"toy_main_high_{name}" for name in ("at", "partial", "both"))
    assert found[both] == round(own[both])
    assert found[at] == pytest.approx(own[at] + own[both], abs=1)
    assert found[partial] == pytest.approx(own[partial] + own[both], abs=1)


def test_pretraining_on_other_terms_is_priced_as_stated(planned):
    longer = planned(scale={**ALONE, "pretraining": {"low_standard": pretraining(recipe={"epochs": 4})}})
    usual = planned(scale=ALONE)
    id = "pretraining/low_standard"
    assert seconds(longer, "train", id) == pytest.approx(2 * seconds(usual, "train", id))
