"""Square Attack (Andriushchenko et al., ECCV 2020) as in pyautoattack, with several queries in one batch.

It is a random search: a query recolours a square of the best image so far and is accepted if the margin falls. Late
queries are nearly all rejected, so several queries from the same image share a batch; those after an accepted one are
made again. Draws, proposals and decisions are those of the package, which has no batch of several queries. So the
trajectory is the package's, up to the rounding of batches of other sizes.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

WINDOW = 32
"""Queries that are drawn together."""


def square(attack: Any, x: Tensor, y: Tensor, *, room: int) -> Tensor:
    """Run the package's attack on correctly classified images; return adversarial images, unbroken ones as they are.

    Args:
        attack: `SquareAttack`, untargeted, in Linf or L2, with its seed.
        x: images (n, C, H, W) in [0, 1].
        y: labels (n,).
        room: the most rows of a batch; up to n it is one query at a time.
    """
    attack.init_hyperparam(x)
    torch.manual_seed(attack.seed)
    with torch.no_grad():
        best = _start(attack, x, y)
        search = Search(attack, x, y, best, attack.margin_and_loss(best, y)[0], room)
        query = 0
        while query < attack.n_queries and (search.margin > 0).any():
            query += search.window(query, min(WINDOW, attack.n_queries - query))
    broken = (search.margin <= 0).view(-1, *[1] * (x.dim() - 1))
    return torch.where(broken, search.best, x)


def _start(attack: Any, x: Tensor, y: Tensor) -> Tensor:
    """Return the package's own start (n, C, H, W): its result without queries."""
    queries, attack.n_queries = attack.n_queries, 0
    try:
        start: Tensor = attack.attack_single_run(x, y)[1]
    finally:
        attack.n_queries = queries
    return start


class Proposals(Protocol):
    """Consecutive queries, drawn in the package's order for the images (o,) that are open."""

    def images_of(self, number: Tensor, row: Tensor) -> Tensor:
        """Return the proposals `number` (r,) for the open images `row` (r,), from their best images, (r, C, H, W)."""


@dataclass
class Search:
    """The state of the search: best images (n, C, H, W), their margins (n,), and `reach` (n,), queries in a batch."""

    attack: Any
    x: Tensor
    y: Tensor
    best: Tensor
    margin: Tensor
    room: int
    reach: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.reach = torch.ones_like(self.y)

    def window(self, first: int, count: int) -> int:
        """Make the `count` queries from number `first` on, or fewer; return their number."""
        kind = LinfProposals if self.attack.norm == "Linf" else L2Proposals
        images = (self.margin > 0).nonzero().squeeze(1)
        draws, best, margin = torch.get_rng_state(), self.best.clone(), self.margin.clone()
        while True:
            proposals = kind.drawn(self, range(first, first + count), images)
            fell = self._advance(images, proposals, count)
            if fell == count or not kind.drawn_by_image:
                return count
            # The draws depend on the number of open images: repeat them up to the query that broke the first one.
            self.best, self.margin, count = best.clone(), margin.clone(), fell
            torch.set_rng_state(draws)

    def _advance(self, images: Tensor, proposals: Proposals, count: int) -> int:
        """Make `count` queries for each of these images; return how many the first break takes, `count` without one."""
        position, fell = torch.zeros_like(images), count
        while True:
            rows = ((position < count) & (self.margin[images] > 0)).nonzero().squeeze(1)
            if not len(rows):
                return fell
            some = images[rows]
            ahead = torch.minimum(self.reach[some], count - position[rows]).clamp(max=max(1, self.room // len(rows)))
            owner = torch.repeat_interleave(ahead)
            offset = torch.arange(len(owner), device=owner.device) - (ahead.cumsum(0) - ahead)[owner]
            x_new = proposals.images_of(position[rows][owner] + offset, rows[owner])
            margins = torch.full((len(rows), int(ahead.max())), math.inf, device=x_new.device, dtype=x_new.dtype)
            margins[owner, offset] = self.attack.margin_and_loss(x_new, self.y[some][owner])[0]
            better = margins < self.margin[some].unsqueeze(1)
            accepted, step = better.any(1), better.int().argmax(1)
            position[rows] += torch.where(accepted, step + 1, ahead)
            self.reach[some] = torch.where(accepted, (ahead // 2).clamp(min=1), (ahead * 2).clamp(max=WINDOW))
            if accepted.any():
                taken = (ahead.cumsum(0) - ahead + step)[accepted]
                self.best[some[accepted]] = x_new[taken]
                self.margin[some[accepted]] = margins[accepted, step[accepted]]
                broken = self.margin[some] <= 0
                if broken.any():
                    fell = min(fell, int(position[rows][broken].min()))


@dataclass
class LinfProposals:
    """Squares of one colour for all images: 2 eps up or down in each channel of the best image, within eps of x."""

    search: Search
    images: Tensor
    changes: Tensor
    drawn_by_image = False

    @classmethod
    def drawn(cls, search: Search, queries: range, images: Tensor) -> LinfProposals:
        """Draw as the package: row, column, one sign for each channel."""
        attack, (channels, height, width) = search.attack, search.x.shape[1:]
        changes = search.x.new_zeros(len(queries), channels, height, width)
        for change, query in zip(changes, queries, strict=True):
            side = min(max(_side(attack, query, search.x), 1), height, width)
            square = _square(attack, side, height, width)
            change[square] = 2.0 * attack.eps * attack.random_choice([channels, 1, 1])
        return cls(search, images, changes)

    def images_of(self, number: Tensor, row: Tensor) -> Tensor:
        """Recolour the square and go back into eps and [0, 1]."""
        image, eps = self.images[row], self.search.attack.eps
        x = self.search.x[image]
        x_new = self.search.best[image] + self.changes[number]
        return torch.minimum(torch.maximum(x_new, x - eps), x + eps).clamp(0.0, 1.0)


@dataclass
class L2Proposals:
    """A pattern in one window. Its norm is that of what it replaces, of a second window that is wiped, and of the rest.

    `pattern` (q, 1, H, W), `first` and `second` window (q, 1, H, W) as masks, `signs` (q, o, C, 1, 1).
    """

    search: Search
    images: Tensor
    pattern: Tensor
    first: Tensor
    second: Tensor
    signs: Tensor
    drawn_by_image = True

    @classmethod
    def drawn(cls, search: Search, queries: range, images: Tensor) -> L2Proposals:
        """Draw as the package: two windows, the pattern's orientation, a sign for each open image and channel."""
        attack, (channels, height, width) = search.attack, search.x.shape[1:]
        if not hasattr(attack.eta_rectangles, "cache_info"):
            attack.eta_rectangles = functools.cache(attack.eta_rectangles)  # it loops over its sides at every query
        pattern, first, second = (search.x.new_zeros(len(queries), 1, height, width) for _ in range(3))
        signs = search.x.new_zeros(len(queries), len(images), channels, 1, 1)
        for number, query in enumerate(queries):
            side = max(_side(attack, query, search.x), 3)
            side = min(side + (side % 2 == 0), height, width)
            window = _square(attack, side, height, width)
            first[number][window] = 1.0
            second[number][_square(attack, side, height, width)] = 1.0
            pattern[number][window] = attack.eta(side)
            signs[number] = attack.random_choice([len(images), channels, 1, 1])
        return cls(search, images, pattern, first, second, signs)

    def images_of(self, number: Tensor, row: Tensor) -> Tensor:
        """Add the pattern to the first window, wipe the second, and rescale to eps, then clip to [0, 1]."""
        attack, image = self.search.attack, self.images[row]
        x, first, second = self.search.x[image], self.first[number], self.second[number]
        delta = self.search.best[image] - x
        unused = (attack.eps**2 - attack.lp_norm(delta) ** 2).clamp(min=0) / x.shape[1]
        length = (unused + _length(delta * torch.maximum(first, second)) ** 2).sqrt()
        new = self.pattern[number] * self.signs[number, row] + delta * first / (1e-12 + _length(delta * first))
        new = new / (1e-12 + _length(new)) * length
        delta = torch.where(first > 0, new, delta * (1 - second))
        return (x + attack.normalize(delta) * attack.eps).clamp(0.0, 1.0)


def _side(attack: Any, query: int, x: Tensor) -> int:
    """Return the side in pixels of a square whose share of the image is the schedule's."""
    return round(math.sqrt(attack.p_selection(query) * x[0].numel() / x.shape[1]))


def _square(attack: Any, side: int, height: int, width: int) -> tuple[slice, slice, slice]:
    """Draw the place of a square; return it as a window of all channels."""
    top, left = int(attack.random_int(0, height - side)), int(attack.random_int(0, width - side))
    return slice(None), slice(top, top + side), slice(left, left + side)


def _length(x: Tensor) -> Tensor:
    """Return the l2 norm of each channel, (n, C, 1, 1)."""
    return (x**2).sum(dim=(-2, -1), keepdim=True).sqrt()
