from __future__ import annotations

import numpy as np
import pytest
import yaml

from robustft.data.datasets import digits
from robustft.errors import IntegrityError, RobustftError
from robustft.files import ROOT


@pytest.fixture(scope="module")
def source():
    return yaml.safe_load((ROOT / "config" / "datasets.yaml").read_text(encoding="utf-8"))["sources"]["digits"]


@pytest.fixture(scope="module")
def loaded(source):
    content = digits.load(source, {})
    return content.images, content.labels, content.sha256


def test_shapes_and_ranges(loaded, source):
    images, labels, _ = loaded
    assert images.shape == (1797, 1, 8, 8)  # scikit-learn's copy: the 1797 images of the UCI test set
    assert images.dtype == np.uint8
    assert (images.min(), images.max()) == (0, 16)
    assert images.max() == source["levels"]
    assert labels.shape == (1797,)
    assert labels.dtype == np.int64
    # Class counts as scikit-learn documents them, "around 180 samples per class".
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_the_first_image_is_the_well_known_zero(loaded):
    images, labels, _ = loaded
    # The first row of scikit-learn's user guide: load_digits().images[0].
    assert labels[0] == 0
    assert images[0, 0, 0].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]
    assert images[0, 0, 3].tolist() == [0, 4, 12, 0, 0, 8, 8, 0]
    assert images[0, 0, 7].tolist() == [0, 0, 6, 13, 10, 0, 0, 0]


def test_the_hash_that_is_reported_is_the_one_on_record(loaded, source):
    assert loaded[2] == source["sha256"]


def test_another_file_is_an_integrity_error_that_names_both_hashes(source):
    sha256 = "0" * 64
    with pytest.raises(IntegrityError, match="not the one on record") as error:
        digits.load({**source, "sha256": sha256}, {})
    assert f"expected: {sha256}" in str(error.value)
    assert f"observed: {source['sha256']}" in str(error.value)
    assert "digits.csv.gz" in str(error.value)


def test_the_file_is_not_opened_before_its_hash_is_checked(source, monkeypatch):
    def opened(*args, **kwargs):
        raise AssertionError("decompressed before the hash was checked")

    monkeypatch.setattr(digits.gzip, "open", opened)
    with pytest.raises(IntegrityError):
        digits.load({**source, "sha256": "0" * 64}, {})
    with pytest.raises(AssertionError, match="decompressed"):  # the guard works: a good hash gets this far
        digits.load(source, {})


def test_a_missing_package_is_an_error_that_says_what_to_install(source):
    with pytest.raises(RobustftError, match=r"'no_such_package'.*not installed") as error:
        digits.load({**source, "package_file": "no_such_package/digits.csv.gz"}, {})
    assert "make install" in str(error.value)
