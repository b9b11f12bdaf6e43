"""An input that changes while a step reads it is refused; the same bytes written again are no change."""

import os
from pathlib import Path

import pytest

from robustft.errors import IntegrityError
from robustft.provenance.inputs import require_unchanged, state_of, vouched_input
from robustft.provenance.record import file_entry


@pytest.fixture
def hashed(tmp_path):
    path = tmp_path / "data"
    path.write_bytes(b"genuine")
    return path, {"data": file_entry(path)}, {"data": state_of(str(path))}


def test_an_input_that_changed_meanwhile_is_refused_whatever_its_times_say(hashed):
    path, entries, states = hashed
    require_unchanged(entries, states)
    before = path.stat()
    path.write_bytes(b"another")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(IntegrityError, match="the input 'data' changed while the step read it"):
        require_unchanged(entries, states)


def test_the_same_bytes_written_again_are_no_change(hashed):
    path, entries, states = hashed
    path.write_bytes(b"genuine")
    require_unchanged(entries, states)


def test_an_input_comes_with_the_record_that_vouches_for_it(finished):
    step = finished.step("train", "toy/main/high/at/seed0")
    role, path = next(iter(step.inputs.items()))
    entry, voucher = vouched_input(role, path, step.upstream[role])
    assert entry == file_entry(Path(path))
    assert voucher["record"] == step.upstream[role]
