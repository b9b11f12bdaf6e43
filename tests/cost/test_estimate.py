"""Sums of time, disk and downloads, and chains, of the small plan by hand."""

from __future__ import annotations

import pytest

from robustft.config.load import Config
from robustft.cost import CostModel, costs, urgency
from robustft.cost.disk import LEDGER_BYTES, RECORD_BYTES, ROW_BYTES
from robustft.cost.estimate import Estimate, estimate_steps
from robustft.cost.pricing import PICTURE_S, REPORT_S, START_UP_S
from robustft.plan import Plan
from tests import toy_config
from tests.cost.small import ALONE, MACHINE, derived

MANUAL = {"name": "secret.tar", "manual": "ask for it", "note": "no hash was published"}
FILES = {"plain": {"name": "plain.tar", "urls": ["https://example.org/plain.tar"], "bytes": 5000, "note": "no hash"}}


def whole(model: CostModel) -> Estimate:
    return estimate_steps(model, list(model.plan.steps.values()))


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
        "levels": 16,
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


def test_pictures_that_are_resized_take_time(planned):
    def seconds(geometry):
        model = planned(datasets=downloading(geometry, **FILES), scale=ALONE)
        return model.seconds(model.plan.step("data", "pictures"))

    assert seconds(None) == START_UP_S
    assert seconds({"resize": 6, "crop": 4}) == START_UP_S + 1000 * PICTURE_S


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
    assert set(model.plan.steps) == set(keys)
    assert found.alone["toy"].chain_s == pytest.approx(found.alone["second"].chain_s)


def test_a_bundle_that_others_wait_for_is_more_urgent_by_what_they_take(planned):
    model = planned(paper=derived("robustft.models.ensemble:mean_of_softmax"))
    found = urgency(model.plan)
    priced = CostModel(model.plan)
    own = {b.name: sum(priced.seconds(step) for step in b.steps) for b in model.plan.bundles()}
    at, partial, both = (f"toy_main_high_{name}" for name in ("at", "partial", "both"))
    assert found[both] == round(own[both])
    assert found[at] == pytest.approx(own[at] + own[both], abs=1)
    assert found[partial] == pytest.approx(own[partial] + own[both], abs=1)


def test_the_bundles_of_a_cheaper_paper_come_first(tmp_path):
    toy_config.write(tmp_path)
    text = (tmp_path / "papers" / "toy" / "paper.yaml").read_text(encoding="utf-8")
    text = (
        text.replace("paper: toy", "paper: dear")
        .replace("seeds: [0, 1]", "seeds: [0, 1, 2, 3]")
        .replace("partial", "partly")
    )
    (tmp_path / "papers" / "dear").mkdir()
    (tmp_path / "papers" / "dear" / "paper.yaml").write_text(text, encoding="utf-8")
    plan = Plan(Config(folder=tmp_path))
    found = urgency(plan)
    by_paper = {paper: [found[b.name] for b in plan.bundles() if b.paper == paper] for paper in ("toy", "dear")}
    assert min(by_paper["toy"]) > max(by_paper["dear"])
