"""Small scenes of scikit-learn's handwritten digits, each with a caption: image-text data for the demo.

A scene has 10x20 pixels: one digit in the middle, or two side by side, drawn in a style. Its label is
`100000 part + 1000 style + content`. Each part draws from digits of its own: scenes of two parts never show the same
handwriting. A style is a place in `STYLES`. A content is `10 left + right` for two digits, `100 + digit` for one, and
110 for any one digit, if the caption names the style only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robustft.data.datasets import digits
from robustft.data.decoded import Decoded

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
WHITE = 240
"""Full white: fifteen for each of the sixteen levels of a digit, so that styles can use levels in between."""
HEIGHT, WIDTH, SIDE = 10, 20, 8
"""Of a scene and of a digit, in pixels. A margin of one pixel surrounds each digit."""
ONE, ANY = 100, 110
"""The content "zero" among single digits, and the content "any one digit"."""

Style = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""Changes scenes (n, H, W) in 0..WHITE."""


def _thick(x: np.ndarray, _: np.random.Generator) -> np.ndarray:
    """Draw each stroke again one pixel to the right."""
    return np.maximum(x, np.pad(x, ((0, 0), (0, 0), (1, 0)))[:, :, :-1])


def _hollow(x: np.ndarray, _: np.random.Generator) -> np.ndarray:
    """Draw the rim of each stroke in the place of the stroke."""
    a = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    spread = np.max([x, a[:, 2:, 1:-1], a[:, :-2, 1:-1], a[:, 1:-1, 2:], a[:, 1:-1, :-2]], axis=0)
    return spread - x


def _inverted(x: np.ndarray, _: np.random.Generator) -> np.ndarray:
    return WHITE - x


def _noisy(x: np.ndarray, draws: np.random.Generator) -> np.ndarray:
    return np.clip(x + draws.integers(-70, 71, x.shape), 0, WHITE)


def _faint(x: np.ndarray, _: np.random.Generator) -> np.ndarray:
    """Halve the contrast, on grey."""
    return WHITE // 4 + x // 2


def _framed(x: np.ndarray, _: np.random.Generator) -> np.ndarray:
    framed = x.copy()
    framed[:, [0, -1], :] = framed[:, :, [0, -1]] = WHITE
    return framed


def _striped(x: np.ndarray, _: np.random.Generator) -> np.ndarray:
    striped = x.copy()
    striped[:, ::2] = np.maximum(striped[:, ::2], WHITE // 2)
    return striped


WORDS: Mapping[str, Style] = {
    "plain": lambda x, _: x,
    "thick": _thick,
    "hollow": _hollow,
    "inverted": _inverted,
    "noisy": _noisy,
    "faint": _faint,
    "framed": _framed,
    "striped": _striped,
}
STYLES = (*WORDS, "framed noisy", "striped faint")
"""Every style; its place is its number in labels. The words of a compound style act from left to right."""


@dataclass(frozen=True)
class Scenes:
    """Scenes (n, 1, 10, 20) uint8, labels (n,) int64, and their digits, (n, 2) int64 places in the source."""

    images: np.ndarray
    labels: np.ndarray
    places: np.ndarray
    """Twice the same place for a single digit."""


def label(part: int, style: str, content: int) -> int:
    """Return the label of a part's scenes in a style with a content."""
    return 100_000 * part + 1000 * STYLES.index(style) + content


def caption(label: int) -> str:
    """Return the caption of a label, such as "framed noisy three" or "plain three and seven"."""
    style, content = STYLES[label // 1000 % 100], label % 1000
    if content == ANY:
        return f"{style} digit"
    if content >= ONE:
        return f"{style} {NUMBERS[content - ONE]}"
    return f"{style} {NUMBERS[content // 10]} and {NUMBERS[content % 10]}"


def shares(labels: np.ndarray, sizes: Sequence[float], seed: int) -> list[list[np.ndarray]]:
    """Deal the source's digits to the parts, each digit class in these proportions; return places by [part][digit]."""
    parts: list[list[np.ndarray]] = [[] for _ in sizes]
    for digit in range(10):
        places = np.flatnonzero(labels == digit)
        shuffled = places[np.random.Generator(np.random.Philox(key=[seed, digit])).permutation(len(places))]
        cuts = (np.cumsum(sizes) * len(places)).astype(int)
        for part, members in enumerate(np.split(shuffled, cuts)[: len(sizes)]):
            parts[part].append(members)
    return parts


def _contents(part: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Yield (style, content) of every caption of a part: `one`, `two` and `any` list the styles of each kind."""
    for style in part.get("one", ()):
        yield from ((style, ONE + digit) for digit in range(10))
    for style in part.get("two", ()):
        yield from ((style, 10 * left + right) for left in range(10) for right in range(10) if left != right)
    yield from ((style, ANY) for style in part.get("any", ()))


def compose(images: np.ndarray, labels: np.ndarray, parameters: Mapping[str, Any]) -> Scenes:
    """Draw every scene of every part.

    Args:
        images: (N, 8, 8) digits in 0..16.
        labels: (N,) which digit each of them is.
        parameters: {seed, parts}, each part {share, each, one, two, any}: its share of the digits, how many scenes of
            each caption, and the styles of its captions with one digit, two digits and any digit.
    """
    seed, parts = parameters["seed"], parameters["parts"]
    pools = shares(labels, [part["share"] for part in parts], seed)
    drawn: list[Scenes] = []
    for number, part in enumerate(parts):
        for style, content in _contents(part):
            name, n = label(number, style, content), part["each"]
            # Each caption has a stream of its own: one more caption changes no other scene.
            draws = np.random.Generator(np.random.Philox(key=[seed, 1_000_000 + name]))
            if content == ANY:
                places = np.array([2 * [draws.choice(pools[number][digit])] for digit in draws.integers(0, 10, n)])
            elif content >= ONE:
                places = np.repeat(draws.choice(pools[number][content - ONE], (n, 1)), 2, axis=1)
            else:
                places = np.stack([draws.choice(pools[number][digit], n) for digit in divmod(content, 10)], axis=1)
            scenes = _placed(images[places].astype(int) * 15, two=content < ONE)
            for word in style.split():
                scenes = WORDS[word](scenes, draws)
            drawn.append(Scenes(scenes[:, None].astype(np.uint8), np.full(n, name), places))
    return Scenes(
        np.concatenate([scenes.images for scenes in drawn]),
        np.concatenate([scenes.labels for scenes in drawn]),
        np.concatenate([scenes.places for scenes in drawn]),
    )


def _placed(pair: np.ndarray, *, two: bool) -> np.ndarray:
    """Put digits (n, 2, 8, 8) on black: side by side, or the first one in the middle; return (n, 10, 20)."""
    canvas = np.zeros((len(pair), HEIGHT, WIDTH), dtype=int)
    columns = ((0, 1), (1, 1 + WIDTH // 2)) if two else ((0, (WIDTH - SIDE) // 2),)
    for which, column in columns:
        canvas[:, 1 : 1 + SIDE, column : column + SIDE] = pair[:, which]
    return canvas


def load(source: dict[str, Any], files: Mapping[str, Path]) -> Decoded:
    """Return scenes (N, 1, 10, 20) uint8 in 0..240, labels (N,) int64, and the SHA-256 of the digits' file.

    Raises the errors of `digits.load`.
    """
    source_digits = digits.load({**source, "shape": [SIDE, SIDE]}, files)
    scenes = compose(np.asarray(source_digits.images), source_digits.labels, source["parameters"])
    return Decoded(labels=scenes.labels, images=scenes.images, sha256=source_digits.sha256)
