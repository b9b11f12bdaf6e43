from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from robustft.attacks.autoattack import STANDARD, AutoAttackShard
from robustft.attacks.threat import Perturbed
from robustft.data.imagefile import Split, save
from robustft.errors import RobustftError
from robustft.evaluate import step
from robustft.evaluate.ledger import Outcome, read_checks, read_ledger
from robustft.evaluate.step import Evaluator, attack
from robustft.evaluate.target import Subject
from robustft.models.checkpoint import load_classifier, save_checkpoint
from robustft.runtime.context import Context

ATTACKS = {
    "clean": {"name": "clean", "algorithm": "none"},
    "fgsm": {
        "name": "fgsm",
        "algorithm": "pgd",
        "objective": "cross_entropy",
        "steps": 1,
        "step_over_eps": 1,
        "start": "none",
    },
    "cw": {
        "name": "cw",
        "algorithm": "pgd",
        "objective": "margin",
        "steps": 3,
        "step_over_eps": "1/2",
        "start": "none",
    },
    "random": {
        "name": "random",
        "algorithm": "pgd",
        "objective": "cross_entropy",
        "steps": 1,
        "step_over_eps": "1/100",  # so that the distance is that of the start
        "start": "uniform",
    },
    "autoattack": {"name": "autoattack", "algorithm": "autoattack", "version": "standard"},
}
for _entry in ATTACKS.values():
    if _entry["algorithm"] != "none":
        _entry["target"] = "exported_model"
DETERMINISTIC = ("clean", "fgsm", "cw")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, tiny_model, tiny_backbone, class_patterns) -> dict[str, Path]:
    """A network trained for a moment, and a data file whose test split is 12 of 20 images in an order of its own."""
    folder = tmp_path_factory.mktemp("inputs")
    model = tiny_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for seed in range(40):  # long enough for the running statistics to have followed
        x, y = class_patterns(20, seed=seed)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    save_checkpoint(folder / "checkpoint", model, about={"backbone": tiny_backbone, "shape": [1, 8, 8], "classes": 5})
    x, y = class_patterns(20, seed=99)
    save(
        folder / "data",
        images=(255 * x).round().to(torch.uint8).numpy(),
        labels=y.numpy(),
        splits={"toy/test": np.array([19, 3, 0, 7, 11, 2, 16, 5, 8, 13, 1, 14])},
        about={"levels": 255, "datasets": {"toy": {"classes": [0, 1, 2, 3, 4]}}},
    )
    return {"checkpoint": folder / "checkpoint", "data": folder / "data"}


class Run:
    """One attack step in a folder of its own, which can be run again in the same scratch folder."""

    def __init__(self, inputs: dict[str, Path], folder: Path) -> None:
        self.inputs, self.folder = dict(inputs), folder
        self.scratch = folder / "scratch"
        self.scratch.mkdir(parents=True)
        self.lines: list[str] = []
        self.facts: dict[str, Any] = {}

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.parquet"

    def spec(self, attacks: tuple[str | dict[str, Any], ...], **changes: Any) -> dict[str, Any]:
        return {
            "models": ["-"],
            "derivation": None,
            "prompts": None,
            "dataset": "toy",
            "split": "test",
            "images": [0, 10],
            "shard_images": 4,
            "threat": {"norm": "linf", "eps": "1/10"},
            "attacks": [ATTACKS[entry] if isinstance(entry, str) else entry for entry in attacks],
            "seed": 0,
            "device": "cpu",
            "threads": 1,
            "optimizations": {},
            **changes,
        }

    def __call__(self, *attacks: str | dict[str, Any], **changes: Any) -> bytes:
        self.evaluator(*attacks, **changes).run()
        return self.ledger.read_bytes()

    def evaluator(self, *attacks: str | dict[str, Any], **changes: Any) -> Evaluator:
        context = Context(
            inputs=self.inputs, outputs={"ledger": self.ledger}, scratch=self.scratch, log=self.lines.append
        )
        self.facts = context.facts
        spec, device = self.spec(attacks, **changes), torch.device("cpu")
        return Evaluator(spec, context, Subject.of(spec, context.inputs, device), device)


@pytest.fixture
def run(inputs, tmp_path):
    """Make runs, each in a folder of its own."""
    numbers = itertools.count()
    return lambda: Run(inputs, tmp_path / f"run{next(numbers)}")


def rows(path: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows of a ledger by attack."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in pq.read_table(path).to_pylist():
        found.setdefault(row["attack"], []).append(row)
    return found


def test_the_ledger_lists_the_images_asked_for_by_their_position_in_the_source(run):
    job = run()
    job(*DETERMINISTIC)
    found = read_ledger(job.ledger)
    assert list(found) == list(DETERMINISTIC)
    for outcome in found.values():
        assert outcome.image.tolist() == [19, 3, 0, 7, 11, 2, 16, 5, 8, 13]
        assert outcome.label.tolist() == [image % 5 for image in outcome.image]
    assert found["clean"].distance.tolist() == [0.0] * 10
    # float32: eps is off by at most half a unit in the last place of a pixel (3e-8).
    assert found["fgsm"].distance == pytest.approx([0.1] * 10, abs=1e-6)


def test_the_problem_is_worth_attacking(run):
    # Otherwise equal ledgers would say little: clean images are mostly right, attacked ones mostly wrong.
    job = run()
    job(*DETERMINISTIC)
    accuracy = {name: outcome.correct.mean() for name, outcome in read_ledger(job.ledger).items()}
    assert accuracy["clean"] >= 0.7
    assert accuracy["cw"] < accuracy["clean"]


@pytest.mark.parametrize("shard_images", [1, 3, 10, 500])
def test_shards_of_any_size_give_the_same_rows(shard_images, run):
    # Same images, predictions and outcomes; a distance may differ by rounding, as sums over a batch are blocked.
    one, other = run(), run()
    one(*DETERMINISTIC)
    other(*DETERMINISTIC, shard_images=shard_images)
    for name, expected in rows(one.ledger).items():
        found = rows(other.ledger)[name]
        assert [row.pop("distance") for row in found] == pytest.approx(
            [row.pop("distance") for row in expected], abs=1e-6
        )
        assert found == expected


def test_one_shard_of_images_is_in_memory_at_a_time(run, monkeypatch):
    """A split may be larger than the memory."""
    counts, take = [], Split.take
    monkeypatch.setattr(Split, "take", lambda self, positions: counts.append(len(positions)) or take(self, positions))
    monkeypatch.setattr(step, "CHECKED_IMAGES", 3)
    run()("clean", "fgsm")
    assert counts == [3, *2 * [4, 4, 2]]


def test_two_parts_give_the_rows_of_the_whole(run):
    whole, first, second = run(), run(), run()
    whole("clean", "fgsm", images=[0, 10])
    first("clean", "fgsm", images=[0, 5])
    second("clean", "fgsm", images=[5, 10])
    for name, expected in rows(whole.ledger).items():
        found = rows(first.ledger)[name] + rows(second.ledger)[name]
        assert [(row["image"], row["prediction"]) for row in found] == [
            (row["image"], row["prediction"]) for row in expected
        ]


def test_running_twice_gives_equal_bytes_also_with_a_random_start(run):
    assert run()("random", "fgsm") == run()("random", "fgsm")
    assert run()("random") != run()("random", seed=1)


def test_the_step_function_runs_on_the_device_asked_for(run, torch_settings_restored):
    job, other = run(), run()
    context = Context(inputs=job.inputs, outputs={"ledger": job.ledger}, scratch=job.scratch, log=lambda line: None)
    attack(job.spec(("clean", "fgsm")), context)
    assert context.facts["device"] == "cpu"
    assert job.ledger.read_bytes() == other("clean", "fgsm")


def test_checks_are_stored_for_the_model_and_for_each_attack(run):
    job = run()
    job(*DETERMINISTIC)
    found = read_checks(job.ledger)
    assert set(found) == {"model", *DETERMINISTIC}
    assert found["model"]["modules_in_training_mode"] == 0.0
    assert found["fgsm"]["over_eps"] < 1e-6
    assert found["fgsm"]["rescored_differently"] == 0.0


def forbidden(*args: Any, **kwargs: Any) -> Any:
    raise AssertionError("work was done that had been done before")


def test_finished_pieces_are_used_and_not_made_again(run, monkeypatch):
    job = run()
    expected = job("fgsm", "cw")
    pieces = sorted(path.name for path in job.scratch.iterdir())
    assert pieces == [f"{name}.{shard}.piece" for name in ("cw", "fgsm") for shard in ("0-4", "4-8", "8-10")]
    job.ledger.unlink()
    monkeypatch.setattr(Evaluator, "_gradient", forbidden)
    assert job("fgsm", "cw") == expected


class KilledError(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("finished", range(6))
def test_a_job_killed_at_any_piece_does_only_the_rest_and_ends_with_the_same_bytes(finished, run, monkeypatch):
    expected, job = run()("fgsm", "cw"), run()
    real, done = Evaluator._gradient, []

    def counted(self, attack, shard, x, y):
        if len(done) == finished:
            raise KilledError
        done.append((attack["name"], shard))
        return real(self, attack, shard, x, y)

    with monkeypatch.context() as patch:
        patch.setattr(Evaluator, "_gradient", counted)
        with pytest.raises(KilledError):
            job("fgsm", "cw")
        first, done = list(done), []
        patch.setattr(Evaluator, "_gradient", lambda *args: done.append((args[1]["name"], args[2])) or real(*args))
        assert job("fgsm", "cw") == expected
    assert len(first) == finished
    assert len(done) == 6 - finished
    assert not set(first) & set(done)


@pytest.mark.parametrize("damage", ["empty", "cut", "longer", "foreign", "bare"])
def test_a_damaged_piece_is_made_again(damage, run):
    job = run()
    expected = job("fgsm")
    piece = job.scratch / "fgsm.4-8.piece"
    data = piece.read_bytes()
    start = data.index(b"PAR1")
    damaged = {
        "empty": b"",
        "cut": data[: len(data) // 2],
        "longer": data + b"\0",
        "foreign": (job.scratch / "fgsm.0-4.piece").read_bytes()[start:],
        "bare": data[start:],  # whole rows, but without the hash that says so
    }
    piece.write_bytes(damaged[damage])
    job.lines.clear()
    assert job("fgsm") == expected
    assert any("fgsm.4-8.piece is damaged" in line for line in job.lines)
    assert piece.read_bytes() == data


def test_a_piece_with_a_flipped_bit_is_never_taken_for_a_result(run):
    # A flipped bit in Parquet can be another, valid outcome, so only the hash in front can tell.
    job = run()
    expected = job("clean", shard_images=10)
    piece = job.scratch / "clean.0-10.piece"
    data = piece.read_bytes()
    for position in range(0, len(data), 211):
        flipped = bytearray(data)
        flipped[position] ^= 1 << (position % 8)
        piece.write_bytes(flipped)
        assert job("clean", shard_images=10) == expected
        assert piece.read_bytes() == data


class Ensemble:
    """Stands in for the four attacks: the k-th one breaks the k-th image that is left, and counts its calls."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[str, int]] = []
        self.dies_at: int | None = None

        def fake(shard: AutoAttackShard, name, x, y, left, outcome) -> None:
            if len(self.calls) == self.dies_at:
                raise KilledError
            self.calls.append((name, len(x)))
            index = left[0]
            outcome.prediction[index] = (y[index] + 1) % 5
            outcome.distance[index] = 0.0625
            outcome.broken_by[int(index)] = name

        monkeypatch.setattr(AutoAttackShard, "_attack", fake)


@pytest.fixture
def ensemble(monkeypatch):
    return Ensemble(monkeypatch)


def autoattack(job: Run) -> bytes:
    """Six images in shards of six: enough for each of the four attacks to break one."""
    return job("autoattack", images=[0, 6], shard_images=6)


def test_each_attack_of_the_ensemble_is_named_in_the_ledger(run, ensemble):
    job = run()
    autoattack(job)
    (outcome,) = read_ledger(job.ledger).values()
    clean = run()
    clean("clean", images=[0, 6])
    right = read_ledger(clean.ledger)["clean"].correct
    assert right.sum() >= 4
    broken = [name for name, was_right in zip(outcome.broken_by, right, strict=True) if was_right]
    assert broken[:4] == list(STANDARD)
    assert set(broken[4:]) <= {""}
    assert job.facts["autoattack_targets"] == 4
    assert all(
        distance == (0.0625 if name else 0.0)
        for name, distance in zip(outcome.broken_by, outcome.distance, strict=True)
    )


@pytest.mark.parametrize("dies_at", range(4))
def test_an_ensemble_killed_between_two_attacks_repeats_none_and_ends_with_the_same_bytes(dies_at, run, ensemble):
    expected, job = autoattack(run()), run()
    ensemble.calls.clear()
    ensemble.dies_at = dies_at
    with pytest.raises(KilledError):
        autoattack(job)
    ensemble.dies_at = None
    assert autoattack(job) == expected
    assert [name for name, _ in ensemble.calls] == list(STANDARD)


def test_an_ensemble_whose_last_stored_stage_is_damaged_goes_on_from_the_one_before(run, ensemble):
    expected, job = autoattack(run()), run()
    ensemble.calls.clear()
    ensemble.dies_at = 3
    with pytest.raises(KilledError):
        autoattack(job)
    stage = job.scratch / "autoattack.0-6.after-3.piece"
    stage.write_bytes(stage.read_bytes()[:50])
    ensemble.dies_at = None
    assert autoattack(job) == expected
    assert [name for name, _ in ensemble.calls] == [*STANDARD[:3], *STANDARD[2:]]


def test_a_resumed_job_tells_the_same_facts(run, ensemble):
    one, job = run(), run()
    autoattack(one)
    autoattack(job)
    autoattack(job)  # all pieces are there: the job was killed while it wrote its ledger or its record
    taken = job.facts.pop("taken_over")
    assert job.facts == one.facts
    assert [piece["file"] for piece in taken] == ["autoattack.0-6.piece"]


def test_the_seed_of_an_ensemble_differs_from_shard_to_shard_and_from_run_to_run(run, monkeypatch):
    seeds = []

    class Stopped(AutoAttackShard):
        def __init__(self, model, *, seed, **rest):
            super().__init__(model, seed=seed, **rest)
            seeds.append(seed)

        def _attack(self, *args):
            pass

    monkeypatch.setattr(step, "AutoAttackShard", Stopped)
    run()("autoattack", shard_images=5)
    run()("autoattack", shard_images=5, seed=1)
    assert len(set(seeds)) == len(seeds) == 4
    assert all(0 <= seed < 2**31 for seed in seeds)


# -- attacks with a threat model, a function or a view of their own -------------------------------------------------


def outcome(job: Run, entry: dict[str, Any], **changes: Any) -> Outcome:
    """What one attack did, and nothing else."""
    job({"target": "exported_model", **entry}, **changes)
    (found,) = read_ledger(job.ledger).values()
    return found


def test_an_attack_with_a_threat_model_of_its_own_stays_in_that_and_is_checked_against_it(run):
    job, own = run(), {"norm": "l2", "eps": "1/2"}
    job({**ATTACKS["fgsm"], "threat": own}, {**ATTACKS["cw"], "name": "plain"})
    found = read_ledger(job.ledger)
    # In l2 it is eps but for what clipping to [0, 1] takes; in linf, the evaluation's, it was 1/10 in every image.
    assert found["fgsm"].distance.max() < 0.5 + 1e-6
    assert found["fgsm"].distance.min() > 0.4
    assert found["plain"].distance.max() == pytest.approx(0.1, abs=1e-6)  # in linf, the evaluation's
    assert read_checks(job.ledger)["fgsm"]["over_eps"] < 1e-6


def test_an_ensemble_with_a_threat_model_of_its_own_attacks_and_is_checked_within_it(run, monkeypatch):
    """Its eps was the evaluation's once, whatever its entry said."""
    ensembles: list[Any] = []

    class Stub(AutoAttackShard):
        def __init__(self, model, *, threat, inspect, **rest):
            super().__init__(model, threat=threat, inspect=inspect, **rest)
            ensembles.append((str(threat), inspect))

        def _attack(self, *args):
            pass

    monkeypatch.setattr(step, "AutoAttackShard", Stub)
    job = run()
    evaluator = job.evaluator({**ATTACKS["autoattack"], "threat": {"norm": "l2", "eps": "3/2"}})
    evaluator.run()
    assert {threat for threat, _ in ensembles} == {"l2 eps 3/2"}
    x, _ = evaluator.images.take(slice(0, 2))
    moved = (x + 0.15).clamp(0, 1)  # beyond the evaluation's 1/10 in linf, within 3/2 in l2 (8 x 0.15 = 1.2)
    checks: dict[str, float] = {}
    monkeypatch.setattr(step, "worst", lambda _, found: checks.update(found) or found)
    ensembles[0][1](moved, x, evaluator.model(moved).argmax(1))
    assert checks["over_eps"] == 0.0


def test_how_many_queries_the_black_box_attack_has_is_the_attacks_own(run, monkeypatch):
    queries: list[int] = []

    class Stub(AutoAttackShard):
        def __init__(self, model, *, square_queries, **rest):
            super().__init__(model, square_queries=square_queries, **rest)
            queries.append(square_queries)

        def _attack(self, *args):
            pass

    monkeypatch.setattr(step, "AutoAttackShard", Stub)
    run()("autoattack", shard_images=10)
    run()({**ATTACKS["autoattack"], "square_queries": 100}, shard_images=10)
    assert queries == [5000, 100]


CALLS: list[tuple[Any, ...]] = []


def brighter(model, x, y, *, threat, generator, by):
    """An attack that adds some light to every pixel, and a little noise."""
    CALLS.append((model, y.tolist(), str(threat), torch.rand(1, generator=generator).item()))
    return (x + by).clamp(0, 1)


def too_bright(model, x, y, *, threat, generator):
    """An attack that leaves the range of pixels."""
    return x + 2


def flow(model, x, y, *, threat, generator, length):
    """An attack whose eps bounds something of its own, which is `length` long."""
    return Perturbed((x + 0.4).clamp(0, 1), x.new_full((len(x),), length))


def halved(model, x, y, *, threat, generator):
    """An attack that gives back other images than it was given."""
    return x[:, :, ::2]


def function(name: str, **parameters: Any) -> dict[str, Any]:
    entry = {"name": name, "algorithm": "function", "implementation": f"{__name__}:{name}"}
    return {**entry, "parameters": parameters, "threat": {"norm": "l2", "eps": "7"}}


def test_a_function_makes_the_images_and_the_whole_model_judges_them(run):
    CALLS.clear()
    job = run()
    found = outcome(job, function("brighter", by=0.4))
    evaluator = job.evaluator("clean")
    x, _ = evaluator.images.take(slice(0, 10))
    with torch.no_grad():
        expected = evaluator.model((x + 0.4).clamp(0, 1)).argmax(1)
    assert found.prediction.tolist() == expected.tolist()
    assert found.distance == pytest.approx(((x + 0.4).clamp(0, 1) - x).flatten(1).norm(dim=1).numpy(), abs=1e-5)
    assert read_checks(job.ledger)["brighter"]["over_eps"] == 0.0
    assert [labels for _, labels, *_ in CALLS] == [
        found.label[part].tolist() for part in (slice(4), slice(4, 8), slice(8, 10))
    ]
    assert {threat for *_, threat, _ in CALLS} == {"l2 eps 7"}


def test_a_function_that_leaves_the_range_of_pixels_is_found_out(run):
    job = run()
    outcome(job, function("too_bright"))
    checks = read_checks(job.ledger)["too_bright"]
    assert checks["adversarial_pixels_outside"] > 0.5
    assert checks["over_eps"] > 0.5


def test_an_attack_function_that_leaves_the_ball_threefold_is_found_out(run):
    """It passed: the images of functions were held against a ball that holds every image."""
    job = run()
    outcome(job, {**function("brighter", by=0.3), "threat": {"norm": "linf", "eps": "1/10"}})
    assert read_checks(job.ledger)["brighter"]["over_eps"] == pytest.approx(0.2, abs=1e-6)


@pytest.mark.parametrize(("length", "over"), [(0.1, 0.0), (0.3, 0.2), (float("nan"), 0.0)])
def test_what_the_eps_of_a_function_bounds_is_checked_even_if_it_is_no_pixel(run, length, over):
    job = run()
    found = outcome(job, {**function("flow", length=length), "threat": {"norm": "linf", "eps": "1/10"}})
    checks = read_checks(job.ledger)["flow"]
    assert checks["over_eps"] == pytest.approx(over, abs=1e-6)
    assert checks["not_a_number"] == (4 if math.isnan(length) else 0)  # of the largest shard
    assert found.distance == pytest.approx([length] * 10, nan_ok=True)


def test_a_function_that_gives_back_other_images_is_an_error(run):
    with pytest.raises(RobustftError, match="'halved' changes the shape of images"):
        outcome(run(), function("halved"))


def test_autoattack_has_every_check_even_if_it_breaks_no_image(run, monkeypatch):
    """It had none, so nothing could fail."""

    class Unmoved(AutoAttackShard):
        def _attack(self, *args):
            pass

    monkeypatch.setattr(step, "AutoAttackShard", Unmoved)
    job, gradient = run(), run()
    job("autoattack")
    gradient("fgsm")
    assert set(read_checks(job.ledger)["autoattack"]) == set(read_checks(gradient.ledger)["fgsm"])


def test_what_a_function_draws_is_named_by_seed_attack_and_shard(run):
    CALLS.clear()
    entry = function("brighter", by=0.1)
    for other, seed in (({}, 0), ({}, 0), ({}, 1), ({"name": "another"}, 0)):
        outcome(run(), {**entry, **other}, seed=seed)
    draws = [draw for *_, draw in CALLS]
    first, again, other_seed, other_name = (draws[start : start + 3] for start in (0, 3, 6, 9))
    assert first == again
    assert len({*first, *other_seed, *other_name}) == 9


class Helping(torch.nn.Module):
    """A view of a model with its logits turned round: what lowers them there raises them here."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return -self.model(x)


THROUGH = f"{__name__}:Helping"


@pytest.mark.parametrize("name", ["fgsm", "cw"])
def test_an_attack_sees_what_its_entry_names_and_the_whole_model_judges(name, run):
    clean, plain, helped = run(), run(), run()
    clean("clean")
    attacked = outcome(plain, ATTACKS[name])
    through = outcome(helped, {**ATTACKS[name], "target": THROUGH})
    right = read_ledger(clean.ledger)["clean"].correct
    assert attacked.correct.sum() < right.sum() <= through.correct.sum()
    # What is moved up the loss of the view goes down the model's own: no image that was right is lost.
    assert through.correct[right].all()


def test_functions_and_the_ensemble_see_that_view_too(run, monkeypatch):
    CALLS.clear()
    outcome(run(), {**function("brighter", by=0.1), "target": THROUGH})
    seen = [model for model, *_ in CALLS]

    class Stub(AutoAttackShard):
        def __init__(self, model, **rest):
            super().__init__(model, **rest)
            seen.append(model)

        def _attack(self, *args):
            pass

    monkeypatch.setattr(step, "AutoAttackShard", Stub)
    outcome(run(), {**ATTACKS["autoattack"], "target": THROUGH})
    assert {type(model) for model in seen} == {Helping}


def summed(models):
    """A derivation: the sum of the models' logits, as one model."""

    class Sum(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.members = torch.nn.ModuleList(models)

        def forward(self, x):
            return sum(member(x) for member in self.members)

    return Sum()


def test_a_derived_model_is_attacked_end_to_end(run, numbered):
    job = run()
    job.inputs = {"data": job.inputs["data"], **numbered(3)}
    job("clean", "fgsm", derivation={"implementation": f"{__name__}:summed"})
    evaluator = job.evaluator("clean", derivation={"implementation": f"{__name__}:summed"})
    members = [load_classifier(path)[0].eval() for role, path in job.inputs.items() if role != "data"]
    x, y = evaluator.images.take(slice(0, 10))
    x.requires_grad_()
    logits = sum(member(x) for member in members)
    clean, fgsm = read_ledger(job.ledger).values()
    assert clean.prediction.tolist() == logits.argmax(1).tolist()
    torch.nn.functional.cross_entropy(logits, y, reduction="sum").backward()
    with torch.no_grad():
        x_adv = (x + 0.1 * x.grad.sign()).clamp(0, 1)
        assert fgsm.prediction.tolist() == sum(member(x_adv) for member in members).argmax(1).tolist()
