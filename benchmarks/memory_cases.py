"""What `benchmarks/memory.py` measures: steps of the DAG, and made-up data of any size for them to read."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SHAPE, SHARD, BATCH, ATTACKS, CLASSES = (3, 64, 64), 50, 32, 10, 10
GEOMETRY = {"resize": 64, "crop": 64}


@dataclass(frozen=True)
class Case:
    """A step and how to make its inputs.

    `prepare` makes the inputs of so many images in a folder and returns the step's specification and its inputs by
    role; `entry` is the step's `module:function`; `unit_bytes` is what an image takes uncompressed, or a ledger's row.
    """

    title: str
    prepare: Callable[[Path, int], tuple[dict[str, Any], dict[str, Path]]]
    entry: str
    outputs: tuple[str, ...]
    unit_bytes: int
    fewest: tuple[int, int]
    """Images of the smallest set, quick and not."""


# -- made-up data ------------------------------------------------------------------------------------------------------


def photographs(count: int, size: tuple[int, int]) -> list[bytes]:
    """Return JPEGs of (width, height) `size` with about the detail of photographs."""
    draws, encoded = np.random.default_rng(0), []
    for _ in range(count):
        coarse = Image.fromarray(draws.integers(0, 256, (size[1] // 16, size[0] // 16, 3), dtype=np.uint8))
        fine = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC)).astype(int)
        noisy = (fine + draws.integers(-12, 13, fine.shape)).clip(0, 255).astype(np.uint8)
        stream = io.BytesIO()
        Image.fromarray(noisy).save(stream, "JPEG", quality=90)
        encoded.append(stream.getvalue())
    return encoded


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def pictures_in_archive(folder: Path, images: int) -> tuple[dict[str, Any], dict[str, Path]]:
    """Write a tar of JPEGs in a folder for each class."""
    some = photographs(32, (96, 80))
    with tarfile.open(folder / "archive", "w") as archive:
        for number in range(images):
            _add(archive, f"all/c{number % CLASSES}/{number:08d}.jpg", some[number % len(some)])
    return _source(images, parts={"all": "all"}), {"archive": folder / "archive"}


def pictures_in_nested_archives(
    folder: Path, images: int, *, inside: int = 500
) -> tuple[dict[str, Any], dict[str, Path]]:
    """Write a tar of tars, as ImageNet is packed: a class each."""
    some = photographs(32, (96, 80))
    with tarfile.open(folder / "archive", "w") as archive:
        for first in range(0, images, inside):
            stream = io.BytesIO()
            with tarfile.open(fileobj=stream, mode="w") as inner:
                for number in range(first, min(first + inside, images)):
                    _add(inner, f"c{number % CLASSES}/{number:08d}.jpg", some[number % len(some)])
            _add(archive, "all", stream.getvalue())
    return _source(images, parts={"all": "all"}, nested=True), {"archive": folder / "archive"}


def _source(images: int, **parameters: Any) -> dict[str, Any]:
    source = {
        "name": "made",
        "loader": "robustft.data.formats.folders:load",
        "licence": "none",
        "levels": 255,
        "shape": list(SHAPE),
        "parameters": parameters,
        "geometry": GEOMETRY,
    }
    view = {"source": "made", "classes": list(range(CLASSES)), "splits": {"test": images}}
    return {"source": source, "datasets": {"made": view}}


def _data_file(folder: Path, images: int) -> Path:
    from robustft.data.imagefile import save

    draws = np.random.default_rng(0)
    some, small = draws.integers(0, 256, (256, *SHAPE), dtype=np.uint8), draws.permutation(images)[:100]
    save(
        folder / "data",
        images=(some[number % len(some)] for number in range(images)),
        labels=np.arange(images) % CLASSES,
        splits={
            "made/train": draws.permutation(images),
            "made/validation": small,
            "made/test": draws.permutation(images),
        },
        about={"levels": 255, "datasets": {"made": {"classes": list(range(CLASSES))}}},
    )
    return folder / "data"


def _planned(kind: str, contains: str) -> dict[str, Any]:
    """Return the specification of a step of scale `smoke`, whose network and budgets are tiny."""
    from robustft.config.load import Config
    from robustft.plan import Plan

    plan = Plan(Config(scale="smoke", papers=["twins"]))
    spec = next(dict(step.spec) for step in plan.of_kind(kind) if contains in step.id)
    # oneDNN 3.12 writes out of bounds in channels-last 1x1 convolutions with stride of so few channels on such images.
    return {**spec, "optimizations": {**spec["optimizations"], "channels_last": False}}


def training(folder: Path, images: int) -> tuple[dict[str, Any], dict[str, Path]]:
    """Plan a training of one epoch by a one-step attack."""
    spec = _planned("train", "/at/")
    splits = {"train": images, "validation": 100, "test": images}
    augmentation = {"pad": 4, "flip": True}
    spec["dataset"] |= {"name": "made", "shape": list(SHAPE), "classes": list(range(CLASSES)), "splits": splits}
    spec["dataset"]["augmentation"] = augmentation
    spec["recipe"] = {**spec["recipe"], "epochs": 1, "batch_size": BATCH}
    spec |= {"initial": None, "backbone": _backbone(spec), "training_attack": {"steps": 1, "step_over_eps": 1}}
    return spec, {"data": _data_file(folder, images)}


def _backbone(spec: Mapping[str, Any]) -> dict[str, Any]:
    parameters = {"width": 4, "blocks": [1, 1, 1]}
    return {**spec["backbone"], "parameters": parameters, "normalisation": {"mean": [0.5] * 3, "std": [0.5] * 3}}


def attacking(folder: Path, images: int) -> tuple[dict[str, Any], dict[str, Path]]:
    """Plan an evaluation of every image, clean and by PGD of two steps, in shards."""
    from robustft.models.checkpoint import save_checkpoint
    from robustft.models.classifier import build_classifier

    backbone = _backbone(_planned("train", "/at/"))
    model = build_classifier(backbone, shape=list(SHAPE), classes=CLASSES, prompts=None)
    about = {"backbone": backbone, "shape": list(SHAPE), "classes": CLASSES, "prompts": None}
    save_checkpoint(folder / "checkpoint", model, about=about)
    spec = _planned("attack", "/at/")
    attacks = [attack for attack in spec["attacks"] if attack["name"] in ("clean", "pgd10")]
    spec["attacks"] = [{**attack, "steps": 2} if attack["name"] == "pgd10" else attack for attack in attacks]
    spec |= {"dataset": "made", "images": [0, images], "shard_images": SHARD}
    return spec, {"data": _data_file(folder, images), "checkpoint": folder / "checkpoint"}


def counting(folder: Path, images: int) -> tuple[dict[str, Any], dict[str, Path]]:
    """Write a ledger of ten attacks and plan the counting of its accuracies."""
    from robustft.evaluate.ledger import Outcome, write_ledger

    draws, names = np.random.default_rng(0), [f"attack{number}" for number in range(ATTACKS)]
    tables = []
    for name in names:
        for first in range(0, images, SHARD):
            image = np.arange(first, min(first + SHARD, images), dtype=np.int32)
            label, wrong = (image % CLASSES).astype(np.int16), draws.integers(0, 2, len(image)).astype(np.int16)
            broken_by = np.where(wrong, "apgd-ce", "").astype(object)
            distance = draws.random(len(image), dtype=np.float32)
            tables.append(Outcome(name, image, label, label + wrong, distance, broken_by).table())
    write_ledger(folder / "ledger", tables, checks={"model": {}})
    member = {"ledger": "ledger", "experiment": "main", "trained_on": "made", "transfer_eval": False, "dataset": "made"}
    member |= {"method": "at", "seed": 0, "evaluation": "robustness", "split": "test", "attacks": names}
    member["threat"] = {"norm": "linf", "eps": "8/255"}
    spec = {"scale": "smoke", "paper": "twins", "reproduces": False, "members": [member]}
    return {**spec, "controls": {}, "checks": {}, "trainings": []}, {"ledger": folder / "ledger"}


IMAGE_BYTES = int(np.prod(SHAPE))
CASES = {
    "decode": Case(
        "decode a tar of JPEGs", pictures_in_archive, "robustft.data.step:decode", ("data",), IMAGE_BYTES, (400, 2000)
    ),
    "nested": Case(
        "decode a tar of tars",
        pictures_in_nested_archives,
        "robustft.data.step:decode",
        ("data",),
        IMAGE_BYTES,
        (400, 2000),
    ),
    "train": Case(
        "train one epoch", training, "robustft.train.step:train", ("checkpoint", "history"), IMAGE_BYTES, (100, 1000)
    ),
    "attack": Case(
        "attack every image", attacking, "robustft.evaluate.step:attack", ("ledger",), IMAGE_BYTES, (100, 1000)
    ),
    "numbers": Case(
        "count a ledger",
        counting,
        "robustft.report.numbers:numbers",
        ("numbers", "metrics"),
        14 * ATTACKS,
        (1000, 10000),
    ),
}
