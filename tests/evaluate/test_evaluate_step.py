from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from pipeline.attacks.autoattack import STANDARD, AutoAttackShard
from pipeline.context import Context
from pipeline.data.imagefile import save
from pipeline.evaluate import step
from pipeline.evaluate.ledger import read_checks, read_ledger
from pipeline.evaluate.step import Evaluator, attack
from pipeline.models.checkpoint import save_checkpoint

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
        _entry["through"] = "exported_model"
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
        self.inputs, self.folder = inputs, folder
        self.scratch = folder / "scratch"
        self.scratch.mkdir(parents=True)
        self.said: list[str] = []
        self.facts: dict[str, Any] = {}

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.parquet"

    def spec(self, attacks: tuple[str, ...], **changes: Any) -> dict[str, Any]:
        return {
            "dataset": "toy",
            "split": "test",
            "images": [0, 10],
            "shard_images": 4,
            "threat": {"norm": "linf", "eps": "1/10"},
            "attacks": [ATTACKS[name] for name in attacks],
            "seed": 0,
            "device": "cpu",
            "threads": 1,
            **changes,
        }

    def __call__(self, *attacks: str, **changes: Any) -> bytes:
        context = Context(
            inputs=self.inputs, outputs={"ledger": self.ledger}, scratch=self.scratch, say=self.said.append
        )
        self.facts = context.facts
        Evaluator(self.spec(attacks, **changes), context, torch.device("cpu")).run()
        return self.ledger.read_bytes()


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
    context = Context(inputs=job.inputs, outputs={"ledger": job.ledger}, scratch=job.scratch, say=lambda line: None)
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
    job.said.clear()
    assert job("fgsm") == expected
    assert any("fgsm.4-8.piece is damaged" in line for line in job.said)
    assert piece.read_bytes() == data


def test_a_piece_with_a_flipped_bit_is_never_taken_for_a_result(run):
    # A flipped bit in Parquet can be another, valid outcome, so only the hash in front can tell.
    job = run()
    expected = job("clean", shard_images=10)
    piece = job.scratch / "clean.0-10.piece"
    data = piece.read_bytes()
    for position in range(0, len(data), 61):
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
    assert job.facts == one.facts


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
