"""What numbers rest on stands in the head of every table and in every caption, from the plan."""

from __future__ import annotations

import pytest

from robustft.report.basis import basis

TITLES = {"clean": "Clean", "pgd10": "PGD-10", "pgd20": "PGD-20", "l2": "PGD-20 (L2)", "autoattack": "AutoAttack"}
TEST = {"evaluation": "robustness", "split": "test"}
LINF = {**TEST, "norm": "linf", "eps": "8/255"}
SHOWN = {"clean": TEST, "pgd10": {**LINF, "steps": 10}, "pgd20": {**LINF, "steps": 20}}


def cell(attack: str, **changes) -> dict:
    return {"attack": attack, **TEST, "dataset": "cifar10", "images": 10_000, "seeds": [0, 1, 2], **changes}


def words(*cells: dict, shown: dict = SHOWN, display: dict | None = None, **spec) -> list[str]:
    full = {"scale": "paper", "reproduces": True, "attacks": TITLES, "shown": shown, **spec}
    return basis(full, display or {}, cells)


def test_norm_eps_steps_split_images_and_seeds_are_said():
    assert words(cell("clean"), cell("pgd10"), cell("pgd20")) == [
        "Threat model: Linf, eps 8/255.",
        "Attack: PGD-10: 10 steps; PGD-20: 20 steps.",
        "Evaluation robustness: 10,000 test images of cifar10; seeds 0, 1, 2.",
        "Scale paper.",
    ]


def test_what_differs_is_said_by_column():
    shown = {**SHOWN, "l2": {**TEST, "norm": "l2", "eps": "64/51", "steps": 20}}
    assert words(cell("l2"), shown=shown, display={"columns": list(shown)})[0] == (
        "Threat model: PGD-10: Linf, eps 8/255; PGD-20: Linf, eps 8/255; PGD-20 (L2): L2, eps 64/51."
    )


def test_each_evaluation_says_its_own_images_split_and_seeds():
    shown = {**SHOWN, "autoattack": {**LINF, "evaluation": "aa", "version": "standard", "square_queries": 500}}
    lone = cell("autoattack", evaluation="aa", split="validation", images=24, seeds=[0])
    found = words(cell("clean"), cell("pgd10"), lone, shown=shown, display={"columns": list(shown)})
    assert found[1] == "Attack: PGD-10: 10 steps; PGD-20: 20 steps; AutoAttack: standard with 500 queries of Square."
    assert found[2:4] == [
        "Evaluation robustness (Clean, PGD-10): 10,000 test images of cifar10; seeds 0, 1, 2.",
        "Evaluation aa (AutoAttack): 24 validation images of cifar10; seed 0.",
    ]


def test_rows_with_other_images_or_seeds_are_said_too():
    other = cell("pgd10", images=40, seeds=[0])
    assert words(cell("pgd10"), other)[2] == (
        "Evaluation robustness: 10,000/40 test images of cifar10; seeds 0, 1, 2/seed 0."
    )


@pytest.mark.parametrize(
    ("display", "images", "text"),
    [
        ({}, (9, 9), "9 test images of each of a, b"),
        ({"across": "datasets"}, (9, 9), "9 test images of each of 2 data sets"),
        ({}, (9, 7), "test images: 9 of a, 7 of b"),
        ({"across": "datasets"}, (9, 7), "test images: 9 of a, 7 of b"),
    ],
)
def test_images_of_several_data_sets(display, images, text):
    cells = [cell("pgd10", dataset=name, images=count) for name, count in zip("ab", images, strict=True)]
    assert words(*cells, display=display)[2] == f"Evaluation robustness: {text}; seeds 0, 1, 2."


def test_one_attack_is_named_since_no_column_names_it():
    assert words(shown={"pgd10": SHOWN["pgd10"]})[1] == "Attack: PGD-10, 10 steps."
    black_box = {**LINF, "queries": 10_000}
    assert words(shown={"pgd10": black_box})[1] == "Attack: PGD-10, 10,000 queries."


def test_clean_images_have_no_threat_model():
    assert words(shown={"clean": TEST})[0] == "Threat model: none, clean images."


def test_stand_ins_are_no_reproduction():
    assert words(reproduces=False)[-1] == "Scale paper: small stand-ins, not a reproduction of a published number."


def test_histories_say_the_attack_that_watched_the_training():
    monitored = {"title": "PGD-10", "norm": "linf", "eps": "1/5", "steps": 10, "seeds": [0, 1], "datasets": ["digits"]}
    monitored["images"] = {"train": [1000], "validation": [48], "test": [48, 40]}
    assert words(shown={}, monitored=monitored) == [
        "Monitoring attack: PGD-10, Linf, eps 1/5, 10 steps, on 1,000 train, 48 validation, 48/40 test images of"
        " digits; seeds 0, 1.",
        "Scale paper.",
    ]
