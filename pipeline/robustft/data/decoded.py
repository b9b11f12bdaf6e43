"""The images and labels that a loader reads from a source's files."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

Image = np.ndarray | Callable[[], np.ndarray]
"""(C, H, W) uint8, or a function that decodes it when it is called, in any thread."""

AHEAD = 2
"""Images for each thread that are read ahead: enough that no thread waits, and few in memory."""


@dataclass(frozen=True)
class Decoded:
    """The images of a source, in a fixed order.

    A loader is a function (source, files) -> Decoded: the source's entry in config/datasets.yaml and its files by role.
    """

    labels: np.ndarray
    """(N,) int64."""
    images: Iterable[Image]
    """N images in the order of the labels; they are read once, one by one."""
    names: Sequence[str] | None = None
    """A name for each label, from 0 on, as prompts hold it."""
    groups: Mapping[str, np.ndarray] = field(default_factory=dict)
    """The publisher's parts, such as train and test: their images' positions, (n,) int64."""
    sha256: str | None = None
    """Of a file that is not among the step's inputs: one that a package ships."""


def decoded(images: Iterable[Image], *, threads: int = 1) -> Iterator[np.ndarray]:
    """Yield the images (C, H, W) uint8 in their order with any number of threads; few are read ahead.

    Raises the errors of reading and decoding; an image's error comes in the place of the image.
    """
    if threads == 1:
        yield from (image() if callable(image) else image for image in images)
        return
    with ThreadPoolExecutor(threads) as pool:
        ahead: deque[Future[np.ndarray]] = deque()
        failed: list[Exception] = []
        try:
            for image in _until_it_fails(images, failed):
                if not callable(image):  # decoded already
                    yield from (ahead.popleft().result() for _ in range(len(ahead)))
                    yield image
                    continue
                ahead.append(pool.submit(image))
                if len(ahead) == AHEAD * threads:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
            if failed:
                raise failed[0]
        finally:
            for future in ahead:
                future.cancel()


def _until_it_fails(images: Iterable[Image], failed: list[Exception]) -> Iterator[Image]:
    """Yield images; an error of reading goes to `failed`, as earlier images may still raise errors of their own."""
    try:
        yield from images
    except Exception as error:  # noqa: BLE001 - it is raised after the errors of earlier images
        failed.append(error)
