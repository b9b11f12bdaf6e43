from __future__ import annotations

import io
import zipfile

import h5py
import numpy as np
import pytest

from robustft.data.formats.arrays import from_hdf5, from_npy, from_npz
from robustft.errors import IntegrityError


def npy(array, version=(1, 0)) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version=version)
    return stream.getvalue()


def npz(**arrays) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_arrays_arrive_in_any_version_and_order(version):
    array = np.arange(6).reshape(2, 3)
    assert np.array_equal(from_npy(npy(np.asfortranarray(array), version), where="x"), array)


def test_objects_and_damage_are_refused_with_the_file():
    with pytest.raises(IntegrityError, match=r"an array cannot be read\n  where:    x\n  observed: ValueError: Object"):
        from_npy(npy(np.array([{}], dtype=object)), where="x")
    for length in (0, 9, 70, 130):
        with pytest.raises(IntegrityError, match="an array cannot be read"):
            from_npy(npy(np.zeros(9))[:length], where="x")


def test_named_arrays_of_an_npz():
    data = npz(a=np.arange(3), b=np.ones(2))
    assert from_npz(data, where="x", most_bytes=24, names=["a"])["a"].tolist() == [0, 1, 2]
    assert sorted(from_npz(data, where="x", most_bytes=100)) == ["a", "b"]
    with pytest.raises(IntegrityError, match=r"an array is missing[\s\S]*expected: c\n  observed: a, b"):
        from_npz(data, where="x", most_bytes=100, names=["c"])


def test_an_npz_is_not_unpacked_beyond_what_its_images_take():
    """7 MB stood for 1.5 GB."""
    data = npz(data=np.zeros((1000, 3072), dtype=np.uint8))
    assert len(data) < 20_000
    with pytest.raises(IntegrityError, match="larger than they can be") as error:
        from_npz(data, where="x.npz", most_bytes=10 * 3072, names=["data"])
    assert "at most 30720 bytes in data" in str(error.value)


def test_an_npz_without_an_end_is_refused():
    with pytest.raises(zipfile.BadZipFile):
        from_npz(npz(a=np.ones(9))[:100], where="x", most_bytes=1000)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.npy", npy(np.ones(1000))[:500])
    with pytest.raises(ValueError, match="EOF: reading array data"):
        from_npz(stream.getvalue(), where="x", most_bytes=1000)


@pytest.fixture
def file(tmp_path):
    (tmp_path / "private").write_bytes(b"a secret of 16 b")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["y"] = np.arange(4)
        file.create_dataset("chunked", data=np.arange(1000), chunks=(10,), compression="gzip")
        file["group/z"] = 1
        file["soft"], file["outside"] = h5py.SoftLink("/y"), h5py.ExternalLink(str(tmp_path / "other.h5"), "y")
        file.create_dataset("external", (16,), np.uint8, external=[(str(tmp_path / "private"), 0, 16)])
        layout = h5py.VirtualLayout((4,), dtype=int)
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "y", (4,))
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("unwritten", (3_000_000_000,), np.uint8, chunks=(1 << 20,), fillvalue=1)
        file.create_dataset("never", (10,), np.uint8)
    with h5py.File(tmp_path / "x.h5") as opened:
        yield opened


def test_a_dataset_with_numbers_of_its_own_is_opened(file):
    assert from_hdf5(file, "y", where="x")[:].tolist() == [0, 1, 2, 3]
    assert from_hdf5(file, "chunked", where="x")[-1] == 999


@pytest.mark.parametrize("name", ["soft", "outside", "external", "virtual", "unwritten", "never", "group"])
def test_numbers_that_a_file_does_not_hold_are_refused(file, name):
    """External storage made the bytes of a private file into pixels; 196 bytes of unwritten chunks took 2.9 GB."""
    with pytest.raises(IntegrityError, match=r"not all stored in its file|cannot be opened"):
        from_hdf5(file, name, where="x")


def test_a_missing_dataset_is_named(file):
    with pytest.raises(IntegrityError, match=r"lacks its array[\s\S]*expected: w"):
        from_hdf5(file, "w", where="x")
