"""Two results folders: cells equal, within spread or different; flipped verdicts; and bytes."""

from __future__ import annotations

import math

import pytest

from robustft.errors import RobustftError
from robustft.files import write_json
from robustft.provenance.compare import Comparison, spread
from tests.provenance.made_results import AT, EPOCHS, cell, folder, numbers


@pytest.fixture
def compared(tmp_path):
    """Compare a folder with one that differs from it by some arguments."""

    def compare(one, other, a=None, b=None):
        return Comparison(folder(tmp_path / "a", *one, **(a or {})), folder(tmp_path / "b", *other, **(b or {})))

    return compare


def statuses(comparison):
    return [pair.status for pair in comparison.pairs]


def test_two_equal_runs_have_one_content_root_whatever_their_ledgers_hosts_and_orders_are(compared):
    cells = [cell(AT, [0.5, 0.6, 0.7]), cell(EPOCHS, [3.0, 4.0], images=0, unit="epochs")]
    found = compared(cells, cells[::-1], b={"ledger": "1" * 64})
    assert statuses(found) == ["equal", "equal"]
    assert found.a.content_root == found.b.content_root
    assert found.same


def test_the_spread_of_several_seeds_is_students():
    a, b = cell(AT, [0.5, 0.6, 0.7]), cell(AT, [0.6, 0.7, 0.8])
    # Both have s = 0.1: 2.776 (t of 4 degrees of freedom) x sqrt(0.01/3 + 0.01/3).
    assert spread(a, b) == pytest.approx(2.776445 * math.sqrt(0.02 / 3), rel=1e-6)


def test_the_spread_of_one_seed_is_the_sampling_of_its_images():
    # Of 96 images and 2 successes and failures more: (48 + 2) / 100 = 0.5, variance 0.25 / 100 each.
    a = cell(AT, [0.5], images=96)
    assert spread(a, a) == pytest.approx(1.959964 * math.sqrt(2 * 0.25 / 100), rel=1e-6)
    assert spread(cell(EPOCHS, [3.0], unit="epochs"), cell(EPOCHS, [4.0], unit="epochs")) == 0


@pytest.mark.parametrize(
    ("other", "status"),
    [
        (cell(AT, [0.5, 0.6, 0.7]), "equal"),
        (cell(AT, [0.6, 0.7, 0.8]), "within spread"),
        (cell(AT, [0.8, 0.9, 1.0]), "differs"),
        (cell(AT, [0.5, 0.6, 0.7], images=99), "differs"),
        (cell((*AT[:-1], "clean"), [0.5, 0.6, 0.7]), "only in A"),
    ],
)
def test_a_cell_is_equal_within_the_spread_or_different(compared, other, status):
    found = compared([cell(AT, [0.5, 0.6, 0.7])], [other])
    assert statuses(found)[0] == status
    assert found.same == (status in ("equal", "within spread"))


def test_validation_and_test_images_are_different_cells(compared):
    validation = cell(("main", "cars", "select", "validation", *AT[4:]), [0.5, 0.6])
    assert statuses(compared([cell(AT, [0.5, 0.6])], [validation])) == ["only in A", "only in B"]


def test_a_flipped_verdict_is_a_difference(compared):
    found = compared([cell(AT, [0.5])], [cell(AT, [0.5])], b={"verdict": "inconclusive"})
    assert found.flipped == {"toy/better": ("holds", "inconclusive")}
    assert not found.same


@pytest.mark.parametrize(
    ("change", "unrepeated"),
    [({}, []), ({"output": b"other"}, ["train:toy"]), ({"output": b"other", "processor": "Q"}, [])],
)
def test_on_one_kind_of_machine_a_step_must_repeat_byte_for_byte(compared, change, unrepeated):
    found = compared([cell(AT, [0.5])], [cell(AT, [0.5])], b=change)
    assert found.unrepeated == unrepeated
    assert found.bytes == {"different" if change else "equal": 1}
    assert found.same == (not unrepeated)


def test_folders_of_two_scales_are_not_compared(tmp_path):
    good, other = folder(tmp_path / "a", cell(AT, [0.5])), folder(tmp_path / "b", cell(AT, [0.5]))
    write_json(other / "toy" / "numbers.json", {**numbers(cell(AT, [0.5])), "scale": "smoke"})
    with pytest.raises(RobustftError, match="of different scales"):
        Comparison(good, other)
