"""The ledger: the outcome of each attack on each image. Accuracies are computed from ledgers only.

One Parquet file, one row for each (attack, image), attacks in the order they were run, images in split order.

| column | type | meaning |
| --- | --- | --- |
| attack | dictionary of string | name of the attack in config/attacks.yaml |
| image | int32 | position of the image in the source file |
| label | int16 | true class |
| prediction | int16 | predicted class after the attack |
| correct | bool | prediction == label |
| distance | float32 | norm of what the eps of the attack bounds, in its units: for most, of the change of pixels |
| broken_by | dictionary of string | for an ensemble: the attack that broke the image; else empty |

The file's metadata holds, under `robustft`, the JSON of the checks made on the model while attacking it.
This module never imports torch: the report and the audit read ledgers too. No library does this: AutoAttack and
RobustBench report accuracies and keep no record of each image under each attack.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from robustft.errors import IntegrityError
from robustft.files import canonical_json, open_regular, read_checked, write_bytes, write_checked

SCHEMA = pa.schema(
    [
        ("attack", pa.dictionary(pa.int8(), pa.string())),
        ("image", pa.int32()),
        ("label", pa.int16()),
        ("prediction", pa.int16()),
        ("correct", pa.bool_()),
        ("distance", pa.float32()),
        ("broken_by", pa.dictionary(pa.int8(), pa.string())),
    ]
)


@dataclass(frozen=True)
class Outcome:
    """The outcome of one attack on n images; all arrays have shape (n,)."""

    attack: str
    image: np.ndarray
    label: np.ndarray
    prediction: np.ndarray
    distance: np.ndarray
    broken_by: np.ndarray

    @property
    def correct(self) -> np.ndarray:
        """Whether the image is still classified correctly."""
        return self.prediction == self.label

    def table(self) -> pa.Table:
        """Return the outcome as rows of the ledger."""
        columns = {
            "attack": [self.attack] * len(self.image),
            "image": self.image,
            "label": self.label,
            "prediction": self.prediction,
            "correct": self.correct,
            "distance": self.distance.astype(np.float32),
            "broken_by": self.broken_by.tolist(),
        }
        return pa.table({name: pa.array(columns[name], SCHEMA.field(name).type) for name in SCHEMA.names}, SCHEMA)


def _encode(tables: list[pa.Table], checks: dict[str, Any]) -> bytes:
    table = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
    table = table.replace_schema_metadata({"robustft": canonical_json(checks)})
    stream = io.BytesIO()
    pq.write_table(table, stream, compression="zstd", version="2.6")
    return stream.getvalue()


def write_ledger(path: Path, tables: list[pa.Table], *, checks: dict[str, Any]) -> None:
    """Write rows and checks atomically. Equal rows and checks give equal bytes."""
    write_bytes(path, _encode(tables, checks))


def write_piece(path: Path, table: pa.Table, *, checks: dict[str, float]) -> None:
    """Store a part of a ledger in scratch with its hash: a flipped bit can turn one valid outcome into another."""
    write_checked(path, _encode([table], checks))


def read_piece(path: Path) -> tuple[pa.Table, dict[str, float]] | None:
    """Return the rows and checks of a stored part, or None if the file is missing or damaged."""
    data = read_checked(path)
    if data is None:
        return None
    table = _rows(pa.BufferReader(data))
    return table, json.loads(table.schema.metadata[b"robustft"])


@contextlib.contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Turn the many errors that a damaged file can cause into an IntegrityError."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise IntegrityError(
            "the ledger cannot be read",
            where=path,
            observed=f"{type(error).__name__}: {error}",
            next_step="delete it and run snakemake; it will be made again",
        ) from error


def read_table(path: Path) -> pa.Table:
    """Return the rows. Raises IntegrityError for a damaged file or one that is no ledger."""
    with _damage_named(path), open_regular(path) as stream:
        table = _rows(stream)
    _require_ledger(table.schema, path)
    return table


def _rows(source: BinaryIO | pa.BufferReader) -> pa.Table:
    """Return the rows of one file, read by one thread: ledgers are small.

    `pq.read_table` also reads folders, imports pandas and takes three times as long.
    """
    with pq.ParquetFile(source, memory_map=False) as file:
        return file.read(use_threads=False)


def _require_ledger(schema: pa.Schema, path: Path) -> None:
    """Raise IntegrityError unless the columns are those of a ledger."""
    if not schema.remove_metadata().equals(SCHEMA):
        raise IntegrityError("the file is not a ledger", where=path, expected=SCHEMA.names, observed=schema.names)


def _array(column: pa.ChunkedArray) -> np.ndarray:
    """Return a column of numbers or truth values without nulls; Arrow's own `to_numpy` would import pandas."""
    if pa.types.is_boolean(column.type):
        return _array(column.cast(pa.uint8())).astype(bool)
    values, kind = column.combine_chunks(), np.dtype(column.type.to_pandas_dtype())
    if values.null_count:
        raise ValueError("a value is missing")
    if not len(values):
        return np.empty(0, kind)
    return np.frombuffer(values.buffers()[1], kind, count=len(values), offset=values.offset * kind.itemsize)


def _texts(column: pa.ChunkedArray) -> np.ndarray:
    """Return a column of texts as (n,) object. Equal texts share one object; a missing one is ''."""
    part = column.combine_chunks()
    index, names = part.indices, np.array([*part.dictionary.to_pylist(), ""], dtype=object)
    missing, values = index.buffers()
    numbers = np.frombuffer(values, np.int8, count=len(index), offset=index.offset)  # as SCHEMA says
    if index.null_count:
        bits = np.unpackbits(np.frombuffer(missing, np.uint8), bitorder="little")
        numbers = np.where(bits[index.offset : index.offset + len(index)], numbers, -1)
    return names[numbers]


def read_ledger(path: Path) -> dict[str, Outcome]:
    """Return the outcomes by attack, in the order of the file.

    Raises IntegrityError for a damaged file, an image listed twice, or a `correct` that contradicts its prediction.
    """
    table = read_table(path)
    with _damage_named(path):
        attacks = _texts(table["attack"])
        columns = {name: _array(table[name]) for name in ("image", "label", "prediction", "correct", "distance")}
        broken_by = _texts(table["broken_by"])
    outcomes = {}
    for attack in dict.fromkeys(attacks.tolist()):
        rows = attacks == attack
        part = {name: values[rows] for name, values in columns.items()}
        stated = part.pop("correct")
        outcome = Outcome(attack=attack, broken_by=broken_by[rows], **part)
        if len(np.unique(outcome.image)) != len(outcome.image):
            raise IntegrityError(f"the ledger lists an image twice under {attack}", where=path)
        if not np.array_equal(stated, outcome.correct):
            image = outcome.image[stated != outcome.correct][0]
            raise IntegrityError(f"the ledger contradicts itself for image {image} under {attack}", where=path)
        outcomes[attack] = outcome
    return outcomes


def read_checks(path: Path) -> dict[str, dict[str, float]]:
    """Return the checks stored with a ledger: of the model, and under each attack."""
    with _damage_named(path), open_regular(path) as stream, pq.ParquetFile(stream) as file:
        schema = file.schema_arrow
    _require_ledger(schema, path)
    with _damage_named(path):
        checks = json.loads((schema.metadata or {})[b"robustft"])
        if not all(isinstance(value, float | int) for made in checks.values() for value in made.values()):
            raise ValueError("a check is no number")
        return dict(checks)


def count_rows(path: Path) -> int:
    """Return the number of rows that a ledger claims to have, without reading them: a small file may claim millions."""
    with _damage_named(path), open_regular(path) as stream, pq.ParquetFile(stream) as file:
        return int(file.metadata.num_rows)
