"""Scale `paper` is the five papers' experiments: their settings, their data, their test sets, nothing less."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from itertools import pairwise
from typing import Any

import pytest

from robustft.config.load import Config
from robustft.files import ROOT
from robustft.plan import Plan

PAPERS = ("adapt", "adv_ss_pretraining", "hyperat", "pmg_aft", "twins")

# What the papers' sources name and what is not run, each with the reason. docs/disagreements.md tells it to readers.
LEFT_OUT = {
    "twins: its tables' own grids of lr, weight decay and lambda": "could not be read; one value of each is known",
    "twins: other networks than ResNet-50 and ResNet-18": "whether the paper has any could not be read",
    "pmg_aft: the argument parser's defaults, eps 2/255 and five steps": "not the README's recipe",
    "pmg_aft: robust accuracy at eps 2/255 and 4/255": "later papers' tables, whose step sizes are not told",
    "pmg_aft: Country211 and Hateful Memes": "in other papers' lists of 16 sets, not in this paper's 15",
    "pmg_aft: FARE by its own recipe": "on ImageNet by AdamW with ten attack steps; not a row of this paper",
    "pmg_aft: visual prompting of TeCoA": "its README's learning rate is an example, and the paper's rows fine-tune",
    "adv_ss_pretraining: softmax before cross-entropy (B1)": "in every release; no option of the method computes it",
    "adv_ss_pretraining: the checkpoint with the best clean accuracy (A1)": "a run keeps one checkpoint",
    "adv_ss_pretraining: shares of the pre-training data": "which shares could not be read",
    "adv_ss_pretraining: pre-training at 224 pixels": "the released branch does not run (B12)",
    "adv_ss_pretraining: L2-JPEG and L1-JPEG at Kang's strengths": "only the Linf form of JPEG is implemented",
    "adv_ss_pretraining: fog, snow and Gabor of Kang et al.": "there are no strengths for CIFAR-10",
    "adv_ss_pretraining: the four further types of CIFAR-10-C": "the follow-up's list, not read in the paper",
    "adv_ss_pretraining: a perturbation for each branch of the ensemble (A4)": "three images are no attack on one",
    "adapt: AdaEA's transfer from an ensemble": "no library of it is among the packages",
    "adapt: the old small ViT, width 768 and eight blocks": "no weights of it were found",
    "adapt: deep-p, prompts that accumulate": "a switch of the code that no readable text mentions",
    "hyperat: CIFAR at 224 pixels in patches of 16": "the other reading of the input size, at three times the cost",
    "hyperat: ARD and PRM added to TRADES and MART": "the objective of ARD and PRM is cross-entropy",
    "hyperat: LoRA as a parallel branch": "the other reading of the sites; not implemented",
    "hyperat: specialists from scratch": "their heads differ, and only LoRAs that share a head can be merged",
    "hyperat: mixup and cutmix of the baselines' PGD-AT": "not implemented; a deviation of the tables",
}

# What the fact sheets ask for: (paper, experiment) -> data sets and some of the methods that must be there.
WANTED: dict[tuple[str, str], tuple[set[str], set[str]]] = {
    ("twins", "main"): ({"cifar10_49000"}, {"linear_probe", "at", "at_scaled", "trades", "trades_released", "lwf"}),
    ("twins", "cifar100"): ({"cifar100_49000"}, {"joint_finetuning", "joint_finetuning_random", "twins_at"}),
    ("twins", "caltech256"): ({"caltech256"}, {"twins_trades", "twins_trades_half_beta", "mart", "at_batch64"}),
    ("twins", "cub200"): ({"cub200"}, {"twins_trades_released", "twins_at_lambda_0_3", "at_scaled_1_4"}),
    ("twins", "stanford_dogs"): ({"stanford_dogs"}, {"twins_at", "twins_trades", "at", "trades"}),
    ("twins", "dtd"): ({"dtd"}, {"trades", "twins_trades"}),
    ("twins", "initialisation"): ({"cifar10_49000"}, {"at_eps0", "at_eps2", "at_eps8", "twins_at_eps0"}),
    ("twins", "ablations"): ({"cifar10_49000"}, {"at_batch64", "at_last", "twins_at_last", "twins_at_lambda_0_4"}),
    ("pmg_aft", "main"): ({"tiny_imagenet"}, {"clip", "ft_clean", "ft_adv", "tecoa", "pmg_aft", "pmg_aft_released"}),
    ("pmg_aft", "grid"): (
        {"tiny_imagenet"},
        {"pmg_aft_lr_1e5", "pmg_aft_lr_1e4", "pmg_aft_reverse_lr_1e5", "pmg_aft_reverse_lr_1e4", "tecoa_lr_1e7"},
    ),
    ("pmg_aft", "tga_zsr"): ({"tiny_imagenet"}, {"ft_clean", "ft_adv", "tecoa", "fare", "pmg_aft"}),
    ("pmg_aft", "ucat"): ({"tiny_imagenet"}, {"tecoa", "fare", "pmg_aft", "pmg_aft_no_general"}),
    ("adv_ss_pretraining", "main"): (
        {"cifar10_45000"},
        {f"{task}_{kind}_{part}_{loss}" for task in ("selfie", "rotation", "jigsaw") for kind in ("std", "adv")
         for part in ("partial", "full") for loss in ("standard", "at")}
        | {"ensemble_pretraining", "ensemble_of_three", "none_full_trades_ce", "selfie_adv_full_trades_kl"},
    ),
    ("adv_ss_pretraining", "variants"): (
        {"cifar10_45000"},
        {"rotation_adv_full_at_readme", "jigsaw_adv_full_at_first", "ensemble_pretraining_readme",
         "ensemble_pretraining_minus", "selfie_imagenet32_full_at", "rotation_adv_full_at_stage4"},
    ),
    ("adapt", "main"): ({"cifar10", "cifar100"}, {"standard", "at", "trades", "mart", "n_fgsm", "adapt_ce_deep"}),
    ("adapt", "imagenette"): ({"imagenette"}, {"at", "adapt_ce_pt", "adapt_kl_deep", "adapt_ce_early"}),
    ("adapt", "patch_16"): ({"cifar10", "cifar100"}, {"at", "adapt_ce_deep", "adapt_ce_long"}),
    ("adapt", "vit_l"): ({"cifar10", "cifar100"}, {"at", "adapt_ce_deep", "adapt_kl_deep"}),
    ("adapt", "original_weights"): ({"cifar10"}, {"at", "adapt_ce_deep"}),
    ("adapt", "ablations"): ({"cifar10"}, {"adapt_ce_first_4", "adapt_ce_length_50", "at_drops", "n_fgsm_released"}),
    ("hyperat", "main"): ({"cifar10_49000"}, {"at", "lora_at", "full_lora_at", "hyperat", "hyperat_adaptive"}),
    ("hyperat", "cifar100"): ({"cifar100_49000"}, {"hyperat", "hyperat_merged"}),
    ("hyperat", "imagenette"): ({"imagenette_12394"}, {"hyperat", "hyperat_merged", "hyperat_adaptive"}),
    ("hyperat", "vit_l"): ({"cifar10_49000"}, {"hyperat", "hyperat_merged", "at", "lora_at"}),
    ("hyperat", "deit_base"): ({"cifar10_49000"}, {"hyperat", "hyperat_merged"}),
    ("hyperat", "deit_small"): ({"cifar10_49000"}, {"hyperat", "hyperat_merged"}),
    ("hyperat", "ablations"): (
        {"cifar10_49000"},
        {"hyperat_r4", "hyperat", "hyperat_r16", "hyperat_r32", "hyperat_m2", "hyperat_m3", "lora_at_r16",
         "hyperat_adaptive_per_site"},
    ),
    ("hyperat", "learning_rate"): ({"cifar10_49000"}, {"hyperat_sgd_0_1", "hyperat_adamw_5e4", "lora_at_sgd_0_03"}),
}  # fmt: skip

# (paper, path in its file, value, basis): every setting that a paper's text or code gives, as the fact sheets have it.
SETTINGS: list[tuple[str, str, Any, str]] = [
    *[
        ("twins", f"experiments.main.recipe.{key}", value, "released")
        for key, value in {
            "epochs": 60, "batch_size": 128, "optimizer": "sgd", "lr": 0.003, "momentum": 0.9, "nesterov": False,
            "weight_decay": 1e-5, "schedule": "steps", "milestones": [30, 50], "gamma": 0.1, "precision": "float32",
        }.items()
    ],
    ("twins", "experiments.main.recipe.selection", "best_validation", "ours"),
    ("twins", "experiments.main.training_attack.steps", 10, "released"),
    ("twins", "experiments.main.training_attack.step_over_eps", "1/4", "released"),
    ("twins", "threat.eps", "8/255", "ours"),
    ("twins", "experiments.caltech256.recipe.weight_decay", 1e-3, "released"),
    ("twins", "experiments.caltech256.recipe.lr", 0.003, "released"),
    ("twins", "experiments.caltech256.overrides.twins_at.parameters.lambda_frozen", 0.4, "released"),
    ("twins", "experiments.caltech256.overrides.twins_trades.parameters.lambda_frozen", 0.4, "released"),
    ("twins", "experiments.cifar100.recipe.weight_decay", 1e-5, "ours"),
    ("twins", "experiments.cub200.recipe.weight_decay", 1e-3, "ours"),
    ("twins", "experiments.cub200.overrides.twins_at.parameters.lambda_frozen", 0.4, "ours"),
    ("twins", "experiments.stanford_dogs.recipe.weight_decay", 1e-3, "ours"),
    ("twins", "experiments.stanford_dogs.overrides.twins_at.parameters.lambda_frozen", 0.4, "ours"),
    ("twins", "methods.twins_at_lambda_0_3.parameters.lambda_frozen", 0.3, "released"),
    ("twins", "methods.lwf.parameters.weight", 0.3, "released"),
    ("twins", "methods.joint_finetuning.parameters.weight", 0.3, "released"),
    *[
        ("pmg_aft", f"experiments.main.recipe.{key}", value, "released")
        for key, value in {
            "epochs": 10, "batch_size": 256, "optimizer": "sgd", "lr": 5e-5, "momentum": 0.9, "nesterov": False,
            "weight_decay": 0.0, "schedule": "cosine", "warmup_steps": 1000,
        }.items()
    ],
    ("pmg_aft", "experiments.main.training_attack.steps", 2, "released"),
    ("pmg_aft", "experiments.main.training_attack.step_over_eps", 1, "released"),
    ("pmg_aft", "threat.eps", "1/255", "released"),
    ("pmg_aft", "experiments.tga_zsr.recipe.batch_size", 128, "ours"),
    ("pmg_aft", "experiments.tga_zsr.recipe.lr", 1e-4, "ours"),
    ("pmg_aft", "experiments.tga_zsr.overrides.tecoa.recipe.lr", 1e-5, "ours"),
    ("pmg_aft", "experiments.ucat.recipe.lr", 1e-4, "ours"),
    ("pmg_aft", "methods.tecoa_lr_1e7.recipe.lr", 1e-7, "released"),
    *[
        ("adv_ss_pretraining", f"experiments.main.recipe.{key}", value, "released")
        for key, value in {
            "epochs": 100, "batch_size": 128, "lr": 0.1, "momentum": 0.9, "nesterov": False, "weight_decay": 3e-4,
            "milestones": [60, 80], "gamma": 0.1, "warmup_steps": 200, "warmup_from": 0.1,
            "selection": "best_validation",
        }.items()
    ],
    ("adv_ss_pretraining", "threat.eps", "8/255", "released"),
    ("adv_ss_pretraining", "experiments.main.training_attack.steps", 10, "released"),
    ("adv_ss_pretraining", "experiments.main.training_attack.step_over_eps", "1/4", "released"),
    *[
        ("adv_ss_pretraining", f"pretraining.{name}.recipe.{key}", value, "released")
        for name, values in {
            "ss_selfie": {"epochs": 200, "batch_size": 128, "lr": 0.1, "nesterov": True, "weight_decay": 1e-4,
                          "schedule": "cosine", "lr_end": 1e-7},
            "ss_selfie_standard": {"epochs": 200, "batch_size": 256},
            "ss_rotation": {"epochs": 100, "batch_size": 256, "lr": 0.1, "nesterov": False, "weight_decay": 3e-4,
                            "lr_end": 1e-6, "warmup_steps": 200, "warmup_from": 0.1},
            "ss_rotation_standard": {"epochs": 200, "batch_size": 128, "weight_decay": 3e-4},
            "ss_jigsaw": {"epochs": 100, "batch_size": 128, "weight_decay": 3e-4},
            "ss_jigsaw_standard": {"epochs": 200, "batch_size": 128, "weight_decay": 5e-4},
            "ss_ensemble": {"epochs": 150, "batch_size": 80, "lr": 0.001, "nesterov": True, "weight_decay": 1e-4,
                            "lr_end": 1e-8},
            "ss_selfie_standard_readme": {"batch_size": 128},
            "ss_rotation_readme": {"batch_size": 128},
            "ss_ensemble_readme": {"batch_size": 32},
            "ss_rotation_first": {"epochs": 200, "batch_size": 128},
            "ss_jigsaw_first": {"epochs": 200, "weight_decay": 5e-4},
        }.items()
        for key, value in values.items()
    ],
    ("adv_ss_pretraining", "pretraining.ss_selfie.dataset", "cifar10_45000_pad2", "released"),
    ("adv_ss_pretraining", "pretraining.ss_selfie.seed", 10, "released"),
    ("adv_ss_pretraining", "pretraining.ss_rotation.seed", 22, "released"),
    ("adv_ss_pretraining", "pretraining.ss_selfie_imagenet32.recipe.epochs", 8, "ours"),
    ("adv_ss_pretraining", "methods.none_full_trades_ce.recipe.milestones", [40, 60], "released"),
    ("adv_ss_pretraining", "methods.none_full_at_40_60.recipe.milestones", [40, 60], "released"),
    *[
        ("adapt", f"experiments.main.recipe.{key}", value, "released")
        for key, value in {
            "epochs": 40, "batch_size": 64, "optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4,
            "schedule": "cyclic", "clip_grad_norm": 1.0,
        }.items()
    ],
    ("adapt", "experiments.main.training_attack.steps", 10, "released"),
    ("adapt", "threat.eps", "8/255", "released"),
    ("adapt", "methods.adapt_ce_deep.recipe.epochs", 20, "released"),
    ("adapt", "methods.adapt_ce_deep.recipe.lr", 1.0, "released"),
    ("adapt", "methods.at_drops.recipe.milestones", [35, 38], "released"),
    ("adapt", "methods.n_fgsm_released.parameters.step", 0.25, "released"),
    *[
        ("hyperat", f"experiments.main.recipe.{key}", value, "released")
        for key, value in {
            "epochs": 40, "batch_size": 64, "optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4,
            "milestones": [35, 38], "gamma": 0.1, "clip_grad_norm": 1.0, "selection": "last",
        }.items()
    ],
    ("hyperat", "experiments.main.training_attack.steps", 10, "released"),
    ("hyperat", "experiments.main.training_attack.step_over_eps", "1/4", "released"),
    ("hyperat", "threat.eps", "8/255", "released"),
]  # fmt: skip

# (paper, path, value) of settings without a basis of their own: parts of the method.
PARTS: list[tuple[str, str, Any]] = [
    ("twins", "experiments.main.pretraining", "imagenet_linf_4"),
    ("twins", "methods.twins_at.parameters", {"lambda_frozen": 1.0, "lambda_adaptive": 1.0}),
    ("twins", "methods.twins_trades.parameters.beta", 6.0),
    ("pmg_aft", "methods.pmg_aft.parameters.alpha", 1.0),
    ("pmg_aft", "methods.pmg_aft.parameters.beta", 1.0),
    ("pmg_aft", "methods.pmg_aft_released.tuning.parameters.scale", 1.0),
    ("pmg_aft", "methods.pmg_aft_released.parameters.kl_reduction", "sum"),
    ("adv_ss_pretraining", "methods.pretrain_ensemble.parameters.diversity", 0.1),
    ("adv_ss_pretraining", "methods.pretrain_ensemble_minus.parameters.diversity", -0.1),
    ("adv_ss_pretraining", "methods.pretrain_jigsaw.parameters.identity", 0.1),
    ("adv_ss_pretraining", "methods.pretrain_selfie.tuning.parameters.layers", 13),
    ("adv_ss_pretraining", "methods.none_full_trades_ce.parameters.beta", 1.0),
    ("adapt", "methods.adapt_ce_deep.parameters.beta", 6.0),
    ("adapt", "methods.adapt_ce_deep.tuning.parameters.length", 25),
    ("adapt", "methods.adapt_ce_long.tuning.parameters.length", 100),
    ("adapt", "methods.adapt_ce_early.tuning.parameters.depth", [0, 1, 2, 3]),
    ("adapt", "methods.n_fgsm_released.parameters.noise", 2.0),
    ("hyperat", "methods.hyperat.tuning.parameters.rank", 8),
    ("hyperat", "methods.hyperat_r32.tuning.parameters.rank", 32),
    ("hyperat", "methods.hyperat_m2.tuning.parameters.defences", ["pgd_at", "trades"]),
    ("hyperat", "methods.hyperat_code_16.tuning.parameters.code", 16),
]

# A reviewed count: an edit that drops a run, an attack or a data set from a paper must change this line.
COUNTS = {
    # paper: (experiments, runs, of them trained, measurements)
    "adapt": (10, 385, 385, 2839),
    "adv_ss_pretraining": (3, 145, 142, 1361),
    "hyperat": (10, 471, 331, 1499),
    "pmg_aft": (4, 81, 75, 11814),
    "twins": (11, 297, 297, 1782),
}

ZERO_SHOT = [
    *("cifar10_zero_shot", "cifar100_zero_shot", "stl10", "sun397", "food101", "oxford_pets", "flowers102"),
    *("dtd_zero_shot", "eurosat", "fgvc_aircraft", "imagenet_zero_shot", "caltech101", "caltech256_zero_shot"),
    *("stanford_cars", "pcam"),
]

NINE = [
    *("cifar10_zero_shot", "cifar100_zero_shot", "stl10", "oxford_pets", "flowers102", "dtd_zero_shot"),
    *("fgvc_aircraft", "caltech101", "stanford_cars"),
]

PARTLY = {"pmg_aft/grid": "autoattack_1000", "hyperat/learning_rate": "selection"}
"""Experiments with an evaluation that is not on a whole test set."""

ONE_SEED = {("pmg_aft", "main", "autoattack"), ("pmg_aft", "grid", "autoattack_1000")}
"""Evaluations under AutoAttack of one seed only, for their cost: no published value is judged by them."""


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Plan(Config(scale="paper"))


def at(tree: Any, path: str) -> Any:
    for key in path.split("."):
        tree = tree[key]
    return tree


def trained(plan: Plan) -> list[Any]:
    return plan.of_kind("train")


def test_paper_is_the_scale_that_reproduces_on_one_gpu_a_job(plan):
    assert plan.config.scale["reproduces"]
    assert plan.config.scale["device"] == "cuda"
    assert plan.config.scale["bundle"] == 0
    assert tuple(plan.config.papers) == PAPERS


@pytest.mark.parametrize(("paper", "path", "value", "basis"), SETTINGS, ids=lambda value: str(value)[:60])
def test_a_setting_is_what_the_source_gives_and_says_so(plan, paper, path, value, basis):
    document = plan.config.papers[paper]
    assert at(document.values, path) == value
    assert document.bases[path]["basis"] == basis
    assert document.bases[path]["source"], "a value with a basis names its source"


@pytest.mark.parametrize(("paper", "path", "value"), PARTS, ids=lambda value: str(value)[:60])
def test_a_part_of_a_method_is_what_the_source_gives(plan, paper, path, value):
    assert at(plan.config.papers[paper].values, path) == value


@pytest.mark.parametrize("key", WANTED, ids="/".join)
def test_every_experiment_that_the_sources_name_is_run(plan, key):
    datasets, methods = WANTED[key]
    runs = [run for run in plan.runs if (run.paper, run.experiment) == key]
    assert {run.dataset for run in runs} == datasets
    assert methods <= {run.method for run in runs}


def test_what_is_left_out_has_a_reason_and_belongs_to_a_paper():
    for name, reason in LEFT_OUT.items():
        assert name.split(":")[0] in PAPERS
        assert len(reason) > 10


def test_no_experiment_of_a_papers_file_is_left_out_at_its_own_scale(plan):
    run = {(run.paper, run.experiment) for run in plan.runs}
    listed = {(name, e) for name, document in plan.config.papers.items() for e in document.values["experiments"]}
    assert run == listed
    for name, document in plan.config.papers.items():
        for experiment, values in document.values["experiments"].items():
            found = {(r.dataset, r.method, r.seed) for r in plan.runs if (r.paper, r.experiment) == (name, experiment)}
            wanted = {(d, m, s) for d in values["datasets"] for m in values["methods"] for s in values["seeds"]}
            assert found == wanted


def test_nothing_stands_in_for_a_papers_data_or_network(plan):
    scale = plan.config.scale
    assert not scale["stand_ins"]["datasets"]
    assert not scale["stand_ins"]["backbones"]
    assert scale["stand_ins"]["pretraining"] == {"clip": "openai_clip_vit_b32"}
    for step in (*plan.of_kind("train"), *plan.of_kind("attack")):
        name = step.spec["dataset"] if step.kind == "attack" else step.spec["dataset"]["name"]
        source = plan.config.sources[plan.config.datasets[name]["source"]]
        assert not source.get("lossy", False), f"{step.key} is on a lossy copy"


def test_no_step_has_data_without_files_of_their_publishers(plan):
    for step in plan.of_kind("data"):
        makers = [plan.producer(path) for path in step.inputs.values()]
        assert makers, f"{step.key} reads no file"
        assert {maker.kind for maker in makers if maker} <= {"download", "data"}
    for step in (*plan.of_kind("train"), *plan.of_kind("attack")):
        maker = plan.producer(step.inputs["data"])
        assert maker is not None
        assert maker.kind == "data"


def test_every_training_has_all_that_it_needs(plan):
    for step in trained(plan):
        spec, recipe = step.spec, step.spec["recipe"]
        splits = spec["dataset"]["splits"]
        assert spec["split"] in splits, step.id
        if recipe["schedule"] == "steps":
            assert recipe["epochs"] > max(recipe["milestones"]), step.id
        assert spec["dataset"].get("augmentation") is not None or spec["dataset"]["name"] == "tiny_imagenet", step.id
        if recipe["selection"] == "best_validation":
            assert "validation" in splits, step.id
        if (spec["auxiliary"] or {}).get("name"):
            assert spec["auxiliary"]["shape"] == spec["dataset"]["shape"], f"{step.id}: both are one batch"


def test_pretrained_weights_are_of_the_network_that_starts_from_them(plan):
    checked = 0
    for step in trained(plan):
        path = step.inputs.get("initial")
        maker = plan.producer(path) if path else None
        if maker is None:
            continue
        checked += 1
        assert maker.spec["backbone"]["name"] == step.spec["backbone"]["name"], step.id
        size = step.spec["backbone"]["parameters"].get("image_size")
        if size is not None and "clip" not in step.spec["backbone"]["name"]:
            assert step.spec["dataset"]["shape"][1:] == ([size, size] if isinstance(size, int) else size), step.id
    assert checked > 500


def test_test_sets_are_attacked_whole_and_only_once(plan):
    for run_id, ranges in covered(plan).items():
        key, label, split, size = run_id
        covered_images = sorted(ranges)
        assert covered_images[0][0] == 0
        assert all(one[1] == two[0] for one, two in pairwise(covered_images)), run_id
        experiment = "/".join(key.split("/")[:2])
        if PARTLY.get(experiment) != label:
            assert split == "test", run_id
            assert covered_images[-1][1] == size, f"{run_id} is on a part of the test set"


def covered(plan: Plan) -> dict[tuple[str, str, str, int], list[list[int]]]:
    """Image ranges by (run, evaluation, split, size of the split), for each data set and attack list."""
    found: dict[tuple[str, str, str, int], list[list[int]]] = defaultdict(list)
    for evaluation in plan.evaluations:
        spec = evaluation.step.spec
        size = plan.config.datasets[evaluation.dataset]["splits"][spec["split"]]
        key = f"{evaluation.run.id}@{evaluation.dataset}"
        found[key, evaluation.name, spec["split"], size].append(spec["images"])
    return found


def test_every_row_has_three_seeds_but_the_controls_and_the_search(plan):
    seeds = defaultdict(set)
    for run in plan.runs:
        seeds[run.paper, run.experiment, run.dataset, run.method].add(run.seed)
    for (paper, experiment, _, method), found in seeds.items():
        single = experiment.endswith("control") or experiment == "learning_rate"
        assert found == ({0} if single else {0, 1, 2}), (paper, experiment, method)


def test_autoattack_is_judged_over_three_seeds_but_where_the_page_says_otherwise(plan):
    seeds = defaultdict(set)
    for evaluation in plan.evaluations:
        run = evaluation.run
        once = (run.paper, run.experiment, evaluation.name) in ONE_SEED or run.experiment.endswith("control")
        if "autoattack" in evaluation.attacks and not once:
            seeds[run.paper, run.experiment, evaluation.dataset, run.method].add(run.seed)
    assert seeds
    assert set(map(len, seeds.values())) == {3}


def test_pmg_aft_is_judged_on_the_fifteen_sets_by_every_attack_of_the_sheet(plan):
    attacks = {"clean", "pgd10_random", "pgd10_autocast", "pgd10_scale1", "pgd10_scale100", "pgd100_random"}
    attacks |= {"cw", "cw10_random", "cw100_random"}
    for experiment in ("main", "grid", "tga_zsr", "ucat"):
        by_dataset = defaultdict(set)
        for evaluation in plan.paper_evaluations("pmg_aft", experiment):
            if evaluation.name == "zero_shot":
                by_dataset[evaluation.dataset] |= set(evaluation.attacks)
        assert list(by_dataset) == ZERO_SHOT
        assert all(found == attacks for found in by_dataset.values())


def test_pmg_aft_meets_autoattack_on_all_sets_once_and_where_it_was_published_in_every_seed(plan):
    found = defaultdict(list)
    for evaluation in plan.paper_evaluations("pmg_aft"):
        if evaluation.attacks == ("autoattack",):
            found[evaluation.run.experiment].append(evaluation.dataset)
    assert {experiment: list(dict.fromkeys(names)) for experiment, names in found.items()} == {
        "main": ZERO_SHOT,
        "grid": ZERO_SHOT,
        "tga_zsr": NINE,
        "ucat": NINE,
    }


def test_adv_ss_is_judged_by_kangs_six_strengths_and_fifteen_corruptions(plan):
    attacks = {a for e in plan.paper_evaluations("adv_ss_pretraining", "main") for a in e.attacks}
    for family in ("linf", "l2", "l1", "jpeg_linf", "elastic"):
        assert len([a for a in attacks if a.startswith(f"kang_{family}_")]) == 6, family
    corrupted = {e.dataset for e in plan.paper_evaluations("adv_ss_pretraining", "main") if e.name == "corruptions"}
    assert len(corrupted) == 15
    assert {sum(plan.config.datasets[name]["splits"].values()) for name in corrupted} == {50000}


def test_the_learning_rate_is_searched_on_validation_images_only(plan):
    splits = {e.step.spec["split"] for e in plan.paper_evaluations("hyperat", "learning_rate")}
    assert splits == {"validation"}


def test_every_control_is_measured_on_the_data_of_its_experiments(plan):
    measured = {(e.run.paper, e.run.experiment, e.dataset) for e in plan.evaluations}
    for paper, document in plan.config.papers.items():
        for name, experiment in document.values["experiments"].items():
            if "control" in experiment:
                for dataset in experiment["datasets"]:
                    assert (paper, experiment["control"], dataset) in measured, (paper, name, dataset)


def test_every_column_of_a_table_is_measured(plan):
    told = {"epochs_to_best", "trained_parameters"}
    for step in plan.of_kind("table"):
        table, paper = step.spec["table"], step.spec["paper"]
        attacks = {a for e in plan.paper_evaluations(paper, table["experiment"]) for a in e.attacks}
        assert step.spec["rows"], step.id
        assert set(table.get("columns", [table.get("metric")])) <= attacks | told, step.id


@pytest.mark.parametrize("paper", PAPERS)
def test_the_number_of_runs_and_measurements_is_the_reviewed_one(plan, paper):
    runs = [run for run in plan.runs if run.paper == paper]
    cells = {(e.run.id, e.name, e.dataset, a) for e in plan.paper_evaluations(paper) for a in e.attacks}
    found = (len({run.experiment for run in runs}), len(runs), sum(run.trained for run in runs), len(cells))
    assert found == COUNTS[paper]


def test_pretrainings_are_trained_where_the_paper_trains_them_and_published_elsewhere(plan):
    kinds = Counter(step.kind for step in plan.steps.values())
    own = [step.id for step in trained(plan) if step.id.startswith("pretraining/")]
    assert len(own) == 15
    assert all(name.startswith("pretraining/ss_") for name in own), "only Adv-SS trains its own"
    assert kinds["weights"] == 16


def disagreements() -> str:
    return (ROOT / "docs" / "disagreements.md").read_text(encoding="utf-8")


def test_readers_are_told_what_is_left_out_and_why():
    told = [line[2:] for line in disagreements().splitlines() if line.startswith("- ")]
    assert told == [f"{name}: {reason}" for name, reason in LEFT_OUT.items()]


def test_every_reading_that_is_said_to_be_run_is_run(plan):
    """A row, experiment, evaluation, attack, data set or pre-training that the page names is in the plan."""
    here = {"adv_ss_pretraining": "Adv-SS-Pretraining", "adapt": "ADAPT", "hyperat": "HyperAT"}
    here |= {"pmg_aft": "PMG-AFT", "twins": "TWINS"}
    sections = dict(part.split("\n", 1) for part in disagreements().split("\n## ")[1:])
    for paper, title in here.items():
        known = {step.id.split("/")[1] for step in trained(plan) if step.id.startswith("pretraining/")}
        known |= {step.spec["dataset"]["name"] for step in trained(plan)}
        for run in (run for run in plan.runs if run.paper == paper):
            known |= {run.experiment, run.method}
        for evaluation in plan.paper_evaluations(paper):
            known |= {evaluation.name, *evaluation.attacks}
        rows = [line.split(" | ") for line in sections[title].splitlines() if line.startswith("| ")][2:]
        assert len(rows) >= 15, title
        for row in rows:
            assert len(row) == 5, row
            assert set(re.findall(r"`([a-z0-9_]+)`", row[3])) <= known, row
            assert bool(re.search("`", row[3])) != (row[3] == "none"), row
