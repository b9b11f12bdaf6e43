from __future__ import annotations

import threading
from functools import partial

import numpy as np
import pytest

from robustft.data.decoded import AHEAD, decoded
from robustft.data.formats import pictures
from robustft.data.imagefile import load_split
from robustft.data.source_file import write_source
from robustft.data.step import decode
from robustft.errors import IntegrityError
from robustft.runtime.context import Context
from tests.data.samples import picture, tar


def image(grey):
    return np.full((3, 2, 2), grey, dtype=np.uint8)


class Counted:
    """Images, each a function, that remember how many were asked for."""

    def __init__(self, number: int, *, make=image) -> None:
        self.number, self.asked, self._make = number, 0, make

    def __iter__(self):
        for grey in range(self.number):
            self.asked += 1
            yield partial(self._make, grey)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_images_keep_their_order_whatever_the_threads(threads):
    # The first ones wait until a later one is done, where there is a thread for that.
    done = threading.Event()

    def late(grey):
        if threads > 1 and grey == 0:
            assert done.wait(10)
        if grey == 1:
            done.set()
        return image(grey)

    result = [int(array[0, 0, 0]) for array in decoded(Counted(23, make=late), threads=threads)]
    assert result == list(range(23))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_no_more_images_are_read_than_the_window_holds(threads):
    source = Counted(40)
    images = decoded(source, threads=threads)
    window = 1 if threads == 1 else AHEAD * threads
    for taken in range(1, 41):
        next(images)
        assert source.asked == min(taken - 1 + window, 40)


def test_arrays_and_functions_may_be_mixed():
    mixed = [image(0), partial(image, 1), partial(image, 2), image(3), partial(image, 4)]
    assert [int(array[0, 0, 0]) for array in decoded(mixed, threads=2)] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_broken_image_fails_in_its_turn_and_nothing_after_the_window_is_read(threads):
    before = set(threading.enumerate())

    def broken(grey):
        if grey == 3:
            raise IntegrityError("broken", where=f"picture {grey}")
        return image(grey)

    source = Counted(1000, make=broken)
    images = decoded(source, threads=threads)
    assert [int(next(images)[0, 0, 0]) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(IntegrityError, match="picture 3"):
        next(images)
    assert source.asked <= 4 + AHEAD * threads
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("threads", [1, 2])
def test_what_reading_raises_comes_after_the_errors_of_the_images_before_it(threads):
    def source(broken):
        yield from (partial(image, grey) for grey in range(3))
        if broken:
            yield partial(failing, 3)
        raise OSError("the archive ends here")

    def failing(grey):
        raise IntegrityError("broken", where=f"picture {grey}")

    images = decoded(source(broken=True), threads=threads)
    assert [int(next(images)[0, 0, 0]) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(IntegrityError, match="picture 3"):
        next(images)
    images = decoded(source(broken=False), threads=threads)
    assert [int(next(images)[0, 0, 0]) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="ends here"):
        next(images)


def test_threads_end_when_the_images_are_no_longer_wanted():
    before = set(threading.enumerate())
    images = decoded(Counted(1000), threads=3)
    next(images)
    images.close()
    assert set(threading.enumerate()) <= before


# -- the step ----------------------------------------------------------------------------------------------------------


def spec(count):
    source = {
        "name": "made",
        "loader": "robustft.data.formats.folders:load",
        "licence": "none",
        "levels": 255,
        "shape": [3, 4, 4],
        "parameters": {"parts": {"all": "a"}},
        "geometry": {"resize": 5, "crop": 4},
    }
    return {"source": source, "datasets": {"made": {"source": "made", "classes": [0], "splits": {"test": count}}}}


@pytest.fixture
def archive(tmp_path):
    files = {f"a/cat/{grey:03d}.png": picture(grey, size=(8 + grey % 5, 9)) for grey in range(60)}
    return tar(tmp_path / "x.tar.gz", files)


@pytest.fixture
def two_cores(monkeypatch):
    monkeypatch.setattr("robustft.data.source_file._cores", lambda: 2)


def written(archive, folder, threads=1):
    folder.mkdir()
    output = folder / "made.safetensors"
    write_source(spec(60), {"archive": str(archive)}, str(output), threads=threads, log=lambda line: None)
    return output


@pytest.fixture
def named_threads(monkeypatch):
    """The names of the threads that pictures were decoded in."""
    names: set[str] = set()
    fit = pictures.fit

    def noted(*arguments):
        names.add(threading.current_thread().name)
        return fit(*arguments)

    monkeypatch.setattr(pictures, "fit", noted)
    return names


def test_the_file_is_the_same_bytes_in_one_thread_and_in_several(archive, tmp_path, two_cores, named_threads):
    one = written(archive, tmp_path / "one").read_bytes()
    assert named_threads == {threading.current_thread().name}
    named_threads.clear()
    several = written(archive, tmp_path / "several", threads=8)
    assert several.read_bytes() == one
    split = load_split(several, dataset="made", split="test")
    assert sorted(split.take(np.arange(60))[:, 0, 0, 0].tolist()) == list(range(60))
    # Never in more threads than there are cores, and never here, where the file is written.
    assert threading.current_thread().name not in named_threads
    assert 1 <= len(named_threads) <= 2


@pytest.mark.parametrize("threads", [1, 2])
def test_a_broken_picture_is_named_and_leaves_no_half_file(tmp_path, threads):
    files = {f"a/cat/{grey:03d}.png": picture(grey) for grey in range(60)}
    path = tar(tmp_path / "x.tar.gz", {**files, "a/cat/031.png": b"broken"})
    (tmp_path / "out").mkdir()
    settings, outputs = {"threads": threads}, {"data": tmp_path / "out" / "made.safetensors"}
    context = Context({"archive": path}, outputs, scratch=tmp_path, settings=settings, log=lambda line: None)
    with pytest.raises(IntegrityError, match=r"a/cat/031\.png"):
        decode(spec(60), context)
    assert list((tmp_path / "out").iterdir()) == []
