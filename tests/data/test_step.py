from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import yaml

from pipeline.context import Context
from pipeline.data.imagefile import load_split
from pipeline.data.step import decode
from pipeline.files import ROOT


@pytest.fixture(scope="module")
def spec():
    catalogue = yaml.safe_load((ROOT / "config" / "datasets.yaml").read_text(encoding="utf-8"))
    return {"source": {"name": "digits", **catalogue["sources"]["digits"]}, "datasets": catalogue["datasets"]}


def decoded(spec, folder: Path) -> Path:
    path = folder / "digits.safetensors"
    decode(spec, Context(inputs={}, outputs={"data": path}, scratch=folder, say=lambda line: None))
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
        name: {int(index) for split in view["splits"] for index in load_split(path, dataset=name, split=split).indices}
        for name, view in spec["datasets"].items()
    }
    assert not parts["digits_0to4"] & parts["digits_5to9"]


def test_decoding_twice_gives_equal_bytes(spec, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, other = (hashlib.sha256(decoded(spec, tmp_path / name).read_bytes()).hexdigest() for name in "ab")
    assert one == other
