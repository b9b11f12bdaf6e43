from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from robustft.data.imagefile import load_split
from robustft.data.step import decode, limits
from robustft.errors import IntegrityError
from robustft.files import ROOT
from robustft.runtime.context import Context

CATALOGUE = yaml.safe_load((ROOT / "config" / "datasets.yaml").read_text(encoding="utf-8"))


def specification(source, **changes):
    views = {name: view for name, view in CATALOGUE["datasets"].items() if view["source"] == source}
    return {"source": {"name": source, **CATALOGUE["sources"][source], **changes}, "datasets": views}


@pytest.fixture(scope="module")
def spec():
    return specification("digits")


def decoded(spec, folder: Path, **inputs: Path) -> Path:
    path = folder / f"{spec['source']['name']}.safetensors"
    decode(spec, Context(inputs=inputs, outputs={"data": path}, scratch=folder, log=lambda line: None))
    return path


def test_the_configured_data_sets_come_out_with_their_sizes_and_classes(spec, tmp_path):
    path = decoded(spec, tmp_path)
    for name, view in spec["datasets"].items():
        for split, size in view["splits"].items():
            part = load_split(path, dataset=name, split=split)
            assert len(part.labels) == len(part.images) == size
            assert set(part.labels) == set(range(len(view["classes"])))
            assert part.levels == 16
            assert part.images.max() == 16


def test_the_pretraining_and_the_downstream_digits_share_no_image(spec, tmp_path):
    path = decoded(spec, tmp_path)
    parts = {
        name: {
            int(index)
            for split in spec["datasets"][name]["splits"]
            for index in load_split(path, dataset=name, split=split).indices
        }
        for name in ("digits_0to4", "digits_5to9")
    }
    assert not parts["digits_0to4"] & parts["digits_5to9"]


def test_decoding_twice_gives_equal_bytes(spec, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, other = (hashlib.sha256(decoded(spec, tmp_path / name).read_bytes()).hexdigest() for name in "ab")
    assert one == other


def test_a_corrupted_set_holds_the_clean_images_labels_once_for_each_type_and_severity(spec, tmp_path):
    clean = decoded(spec, tmp_path)
    types = ["frost", "brightness"]
    corrupted = specification("digits_5to9_c", corruptions=types)
    corrupted["datasets"] = {f"digits_5to9_{kind}": corrupted["datasets"][f"digits_5to9_{kind}"] for kind in types}
    path = decoded(corrupted, tmp_path, clean=clean)
    original = load_split(clean, dataset="digits_5to9", split="test")
    seen: list[int] = []
    for kind in types:
        part = load_split(path, dataset=f"digits_5to9_{kind}", split="test")
        assert part.labels.tolist() == np.tile(original.labels[:48], 5).tolist()
        assert part.levels == 255
        seen += part.indices.tolist()
    assert sorted(seen) == list(range(2 * 5 * 48))  # no image of the ledgers is listed twice
    # Brightness adds 0.1 to every pixel at severity 1 and 0.5 at severity 5; a digit's darkest pixel is black.
    part = load_split(path, dataset="digits_5to9_brightness", split="test")
    assert original.images[0].min() == 0
    darkest = [float(part.images[s * 48].min() / 255) for s in (0, 4)]
    assert darkest == pytest.approx([0.1, 0.5], abs=0.005)


def test_a_pixel_above_full_white_is_refused(tmp_path):
    """A loader from elsewhere says nothing of its full white while planning: with `levels: 1` images were of 16."""
    spec = specification("digits", levels=15)
    with pytest.raises(IntegrityError, match=r"image \d+ has pixels above full white[\s\S]*observed: 16"):
        decoded(spec, tmp_path)


def test_memory_is_what_the_scale_asks_for_and_room_what_the_images_take(tmp_path):
    (tmp_path / "x").write_bytes(bytes(1_000_000))
    source = {"images": 50_000, "shape": [3, 224, 224], "geometry": {"resize": 256, "crop": 224}}
    made = limits(source, [tmp_path / "x"], {"memory_mb": 2000})
    assert made.memory_bytes == 2000 << 20
    assert made.file_bytes == (1 << 28) + 50_000 * 3 * 224 * 224
    assert made.cpu_s == 610
    # Only the shorter side is fixed: a picture may be a panorama.
    assert limits({**source, "geometry": {"resize": 224}}, [], {}).file_bytes == (1 << 28) + 4 * 50_000 * 3 * 224 * 224


def hostile(folder: Path, *, images: bytes, loader: str, **source) -> dict:
    """A source of one file, with a view of it."""
    (folder / "file").write_bytes(images)
    about = {"name": "toy", "loader": loader, "licence": "none", "levels": 255, "shape": [3, 96, 96], "images": 2}
    views = {"toy": {"source": "toy", "classes": [0, 1], "splits": {"test": 2}}}
    return {"source": {**about, **source}, "datasets": views}


def test_gzip_that_stands_for_gigabytes_is_refused(tmp_path):
    """196 bytes took 2.9 GB: labels of an HDF5 file that were never written."""
    with h5py.File(tmp_path / "y.h5", "w") as file:
        file.create_dataset("y", (3_000_000_000, 1, 1, 1), np.uint8, chunks=(1 << 20, 1, 1, 1), fillvalue=1)
    data = gzip.compress((tmp_path / "y.h5").read_bytes())
    spec = hostile(tmp_path, images=data, loader="robustft.data.datasets.pcam:load")
    with pytest.raises(IntegrityError, match=r"not all stored in its file[\s\S]*where:    .*file"):
        decoded(spec, tmp_path, images=tmp_path / "file", labels=tmp_path / "file")
    assert not (tmp_path / "toy.safetensors").exists()


def test_a_loader_that_crashes_is_one_error_and_leaves_nothing(tmp_path):
    spec = hostile(tmp_path, images=b"", loader="tests.runtime.sandbox.inmates:load_and_crash")
    with pytest.raises(IntegrityError, match=r"where:    archive\.tar: member\.jpg"):
        decoded(spec, tmp_path, images=tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_record_says_what_the_kernel_held(spec, tmp_path):
    context = Context({}, {"data": tmp_path / "x"}, scratch=tmp_path, log=lambda line: None)
    decode(spec, context)
    assert set(context.facts["confined"]) <= {"end of the parent", "network", "files", "memory"}
