"""Downloads, data and weights are planned when something needs them."""

from robustft.config import Config
from robustft.plan import Plan
from tests import toy_config
from tests.plan.toy_plan import ARCHIVED, FILES, PICTURES, ids
from tests.toy_config import paper, pretraining


def test_only_the_data_and_pretrainings_that_the_chosen_papers_need_are_planned(planned):
    more = {"unneeded": pretraining(dataset="spared")}
    plan = planned(scale={"pretraining": more})
    assert ids(plan, "data") == ["digits"]  # the source of `spared` is never read
    assert [id for id in ids(plan, "train") if id.startswith("pretraining/")] == ["pretraining/low_standard"]
    plan = planned(scale={"pretraining": more}, paper=paper(experiment={"pretraining": "unneeded"}))
    assert sorted(ids(plan, "data")) == ["digits", "spare"]
    assert [id for id in ids(plan, "train") if id.startswith("pretraining/")] == ["pretraining/unneeded"]


def test_what_one_paper_needs_is_not_planned_for_another(tmp_path):
    import yaml

    toy_config.write(tmp_path / "config")
    toy = yaml.safe_load((tmp_path / "config" / "papers" / "toy" / "paper.yaml").read_text())
    toy["paper"], toy["experiments"]["main"]["pretraining"] = "second", "none"
    toy["experiments"]["main"]["datasets"] = ["spared"]
    (tmp_path / "config" / "papers" / "second").mkdir()
    (tmp_path / "config" / "papers" / "second" / "paper.yaml").write_text(yaml.safe_dump(toy))
    both, one = (Plan(Config(papers=papers, folder=tmp_path / "config")) for papers in (None, "second"))
    assert ids(both, "data") == ["spare", "digits"]
    assert ids(one, "data") == ["spare"]
    assert not [id for id in ids(one, "train") if not id.startswith("second/")]
    assert {key: both.steps[key].digest for key in one.steps} == {key: step.digest for key, step in one.steps.items()}


def test_a_corrupted_source_is_made_from_the_data_set_that_it_corrupts(planned):
    corrupted = {
        "title": "C",
        "loader": "robustft.data.datasets.corruptions:load",
        "corrupted_from": {"dataset": "spared", "split": "test", "images": 4},
        "corruptions": ["fog", "snow"],
        "draw_seed": 0,
        "licence": "L",
        "shape": [1, 8, 8],
        "levels": 255,
    }
    foggy = {"title": "Fog", "source": "bad", "corruption": "fog", "classes": [0, 1], "splits": {"test": 20}}
    datasets = {"sources": {"bad": corrupted}, "datasets": {"foggy": foggy}}
    assert ids(planned(datasets=datasets), "data") == ["digits"]
    evaluation = {"attacks": ["clean"], "split": "test", "shard_images": 8, "parts": 1, "datasets": ["foggy"]}
    change = paper(evaluations={"fog": evaluation}, experiment={"evaluations": ["fog"]})
    plan = planned(datasets=datasets, paper=change, scale={"stand_ins": {"datasets": {"foggy": "foggy"}}})
    assert ids(plan, "data") == ["digits", "spare", "bad"]  # the clean images come first
    assert plan.step("data", "bad").inputs == {"clean": "results/data/spare.safetensors"}
    assert "pipeline/robustft/data/datasets/corruptions.py" in plan.step("data", "bad").sources()
    assert plan.evaluations[0].step.inputs["data"] == "results/data/bad.safetensors"
    assert plan.evaluations[0].step.spec["images"] == [0, 20]


def test_a_source_of_files_is_decoded_from_downloads_that_know_their_hash_and_not_their_address(published):
    plan = published()
    fetched = plan.step("download", "archive")
    assert fetched.spec == {"file": {"key": "archive", "name": "a.tar", "bytes": 7, "md5": "0" * 32}}
    assert fetched.settings == {"urls": ["https://one/a.tar"], "manual": None}
    assert fetched.outputs == {"file": "results/downloads/archive.download"}
    assert fetched.record == "results/downloads/archive.record.json"
    decoded = plan.step("data", "archived")
    assert decoded.inputs == {"images": "results/downloads/archive.download"}
    assert "terms" not in decoded.spec["source"]


def test_another_mirror_changes_no_identity(published):
    moved = {**FILES["archive"], "urls": ["https://two/a.tar"], "note": "other"}
    datasets = {
        "files": {"archive": moved},
        "sources": {"archived": {**ARCHIVED, "terms": "others"}},
        "datasets": {"pictures": {**PICTURES, "augmentation": {"pad": 0, "flip": False}}},
    }
    one, other = published(), published(datasets=datasets)
    assert {key: step.digest for key, step in one.steps.items()} == {key: s.digest for key, s in other.steps.items()}


def test_published_weights_are_a_pretraining(published):
    plan = published()
    weights = plan.step("weights", "robust")
    assert weights.inputs == {"file": "results/downloads/published.download"}
    assert weights.spec["backbone"]["name"] == "tiny"
    assert weights.spec["weights"] == {
        "name": "robust",
        "file": "published",
        "reader": "robustft.models.pretrained.vit_formats:vit",
        "parameters": {"patch_size": 4},
        "licence": "L",
    }
    run = plan.runs[0]
    assert run.step.inputs["initial"] == weights.outputs["checkpoint"] == "results/weights/robust.safetensors"
    assert run.step.spec["initial"]["digests"] == [weights.digest]
    assert "pipeline/robustft/models/tunings/protocol.py" in weights.sources()


def test_a_scales_pretraining_may_go_on_from_published_weights(published):
    scale = {
        "pretraining": {"further": pretraining(pretraining="robust")},
        "stand_ins": {"datasets": {"pictures": "pictures"}, "pretraining": {}},
    }
    plan = published(scale=scale, paper=paper(experiment={"datasets": ["pictures"], "pretraining": "further"}))
    further = plan.step("train", "pretraining/further")
    assert further.inputs["initial"] == "results/weights/robust.safetensors"
    assert plan.runs[0].step.inputs["initial"] == further.outputs["checkpoint"]


def test_names_that_come_with_the_data_leave_a_template_in_the_specification(published):
    assert published().runs[0].step.spec["dataset"]["prompts"] == {"template": "a {}"}
