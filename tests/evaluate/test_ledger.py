from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from robustft.errors import IntegrityError
from robustft.evaluate.ledger import (
    SCHEMA,
    Outcome,
    read_checks,
    read_ledger,
    read_piece,
    read_table,
    write_ledger,
    write_piece,
)
from robustft.files import ROOT

CHECKS = {"model": {"repeat_difference": 0.0}, "pgd10": {"over_eps": 2.5e-8}}


def outcome(attack: str = "pgd10", *, images: tuple[int, ...] = (4, 0, 7), **changes) -> Outcome:
    """Three images: held, fallen, wrong from the start."""
    n = len(images)
    arrays = {
        "image": np.array(images, dtype=np.int32),
        "label": np.resize(np.array([0, 1, 2], dtype=np.int16), n),
        "prediction": np.resize(np.array([0, 4, 3], dtype=np.int16), n),
        "distance": np.resize(np.array([0.0, 0.125, 0.0], dtype=np.float32), n),
        "broken_by": np.array([["", "square", ""][i % 3] for i in range(n)], dtype=object),
    }
    return Outcome(attack=attack, **{**arrays, **changes})


CLEAN = outcome("clean", broken_by=np.array(["", "", ""], dtype=object), prediction=np.array([0, 1, 3], dtype=np.int16))


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "ledger.parquet"
    write_ledger(path, [CLEAN.table(), outcome().table()], checks=CHECKS)
    return path


def assert_equal(found: Outcome, expected: Outcome) -> None:
    assert found.attack == expected.attack
    for name in ("image", "label", "prediction", "distance"):
        left, right = getattr(found, name), getattr(expected, name)
        assert left.dtype == right.dtype, name
        assert np.array_equal(left, right), name
    assert found.broken_by.tolist() == expected.broken_by.tolist()


def test_round_trip(path):
    found = read_ledger(path)
    assert list(found) == ["clean", "pgd10"]
    assert_equal(found["clean"], CLEAN)
    assert_equal(found["pgd10"], outcome())
    assert found["pgd10"].broken_by.tolist() == ["", "square", ""]
    assert found["pgd10"].correct.tolist() == [True, False, False]


def test_checks_round_trip(path):
    assert read_checks(path) == CHECKS


def test_the_columns_are_those_that_the_format_promises(path):
    assert read_table(path).schema.remove_metadata() == SCHEMA
    assert read_table(path).num_rows == 6


def test_equal_rows_give_equal_bytes_however_they_come(path, tmp_path):
    other = tmp_path / "other.parquet"
    rows = outcome().table()
    # The first row alone has a dictionary of its own for `broken_by`, without the word that only the second row uses.
    pieces = [CLEAN.table(), outcome(images=(4,)).table(), rows.slice(1, 1), rows.slice(2, 1)]
    write_ledger(other, pieces, checks=dict(reversed(CHECKS.items())))
    assert read_table(other).to_pylist() == read_table(path).to_pylist()
    assert other.read_bytes() == path.read_bytes()


def test_pieces_read_back_from_files_give_equal_bytes_too(path, tmp_path):
    tables = []
    for number, part in enumerate((CLEAN, outcome())):
        piece = tmp_path / f"{number}.piece"
        write_piece(piece, part.table(), checks={"over_eps": 0.1 + 0.2})
        table, checks = read_piece(piece)
        assert checks == {"over_eps": 0.1 + 0.2}
        tables.append(table)
    other = tmp_path / "other.parquet"
    write_ledger(other, tables, checks=CHECKS)
    assert other.read_bytes() == path.read_bytes()


def test_a_piece_that_is_missing_or_not_what_was_written_is_none(tmp_path):
    piece = tmp_path / "one.piece"
    assert read_piece(piece) is None
    write_piece(piece, CLEAN.table(), checks={})
    data = piece.read_bytes()
    for position in range(0, len(data), 7):
        flipped = bytearray(data)
        flipped[position] ^= 1
        piece.write_bytes(flipped)
        assert read_piece(piece) is None, position
    for kept in (0, 10, 30, 60, len(data) - 1):
        piece.write_bytes(data[:kept])
        assert read_piece(piece) is None, kept
    piece.write_bytes(data)
    assert read_piece(piece) is not None


def test_a_large_ledger_survives(tmp_path):
    path = tmp_path / "large.parquet"
    write_ledger(path, [outcome(images=tuple(range(3000))).table()], checks={})
    assert read_ledger(path)["pgd10"].image.tolist() == list(range(3000))


def test_an_image_listed_twice_is_an_integrity_error(tmp_path):
    path = tmp_path / "twice.parquet"
    write_ledger(path, [CLEAN.table(), outcome(images=(4, 0, 4)).table()], checks={})
    with pytest.raises(IntegrityError, match="lists an image twice under pgd10") as error:
        read_ledger(path)
    assert str(path) in str(error.value)


def test_two_shards_that_overlap_are_an_integrity_error(tmp_path):
    path = tmp_path / "overlap.parquet"
    write_ledger(path, [outcome(images=(1, 2)).table(), outcome(images=(2, 3)).table()], checks={})
    with pytest.raises(IntegrityError, match="twice under pgd10"):
        read_ledger(path)


def test_one_image_under_two_attacks_is_no_error(path):
    assert set(read_ledger(path)["clean"].image) == set(read_ledger(path)["pgd10"].image)


def tampered(path, column: str, row: int, value) -> None:
    """Rewrite the file with one value changed, as an editor of results would."""
    table = pq.read_table(path)
    values = table[column].to_pylist()
    values[row] = value
    index = table.schema.get_field_index(column)
    table = table.set_column(index, SCHEMA.field(column), pa.array(values, SCHEMA.field(column).type))
    pq.write_table(table, path)


@pytest.mark.parametrize(("column", "value"), [("correct", True), ("prediction", 1), ("label", 4)])
def test_a_correct_that_contradicts_its_prediction_is_an_integrity_error(path, column, value):
    tampered(path, column, 4, value)  # image 0 under pgd10: label 1, prediction 4, not correct
    with pytest.raises(IntegrityError, match="contradicts itself for image 0 under pgd10") as error:
        read_ledger(path)
    assert str(path) in str(error.value)


def test_a_file_cut_anywhere_is_an_integrity_error(path):
    data = path.read_bytes()
    for kept in (0, 3, 4, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:kept])
        for read in (read_table, read_ledger, read_checks):
            with pytest.raises(IntegrityError, match="cannot be read"):
                read(path)


def test_a_missing_ledger_is_an_integrity_error(tmp_path):
    with pytest.raises(IntegrityError, match="cannot be read"):
        read_ledger(tmp_path / "none.parquet")


def test_a_parquet_file_of_other_origin_is_an_integrity_error(tmp_path):
    path = tmp_path / "foreign.parquet"
    pq.write_table(pa.table({"attack": ["pgd10"], "accuracy": [0.5]}), path)
    with pytest.raises(IntegrityError, match="not a ledger") as error:
        read_ledger(path)
    assert "accuracy" in str(error.value)


def test_a_ledger_whose_columns_have_other_types_is_an_integrity_error(path):
    table = pq.read_table(path)
    index = table.schema.get_field_index("label")
    pq.write_table(table.set_column(index, "label", pa.array([str(v) for v in table["label"].to_pylist()])), path)
    with pytest.raises(IntegrityError, match="not a ledger"):
        read_ledger(path)


def test_damage_is_an_integrity_error_and_no_other_kind_of_error(path):
    # A flipped bit that hits nothing that counts may pass here (the record's hash of the file notices it); one that
    # makes the file unreadable must say so in the one way that callers know.
    data, others = path.read_bytes(), set()
    for position in range(0, len(data), 7):
        flipped = bytearray(data)
        flipped[position] ^= 1 << (position % 8)
        path.write_bytes(flipped)
        for read in (read_ledger, read_checks):
            try:
                read(path)
            except IntegrityError:
                continue
            except Exception as error:  # noqa: BLE001 (any other kind is what this test looks for)
                others.add(f"{read.__name__}: {type(error).__name__}")
    assert others == set()


def test_a_ledger_without_checks_has_none(tmp_path):
    write_ledger(tmp_path / "l.parquet", [CLEAN.table()], checks={})
    assert read_checks(tmp_path / "l.parquet") == {}


def test_ledgers_are_read_without_torch():
    # The report and the audit read ledgers; neither may need torch.
    code = "import sys, robustft.evaluate.ledger; assert 'torch' not in sys.modules; print('read')"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout.strip()) == (0, "read"), found.stderr
