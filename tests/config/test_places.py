"""A value is found in its file: its line, its tag, through anchors, `<<` and `extends`."""

import pytest

from robustft.config.places import Position, find

BASE = """\
shared: &shared
  lr: {value: 0.1, basis: released, source: train.sh}
  epochs: 9
run:
  <<: *shared
  epochs: {value: 2, basis: ours}
  tuning: {value: {rank: 8}, basis: published, source: section 3}
"""


@pytest.fixture
def base(tmp_path):
    path = tmp_path / "base.yaml"
    path.write_text(BASE)
    (tmp_path / "more.yaml").write_text("extends: base\nrun: {lr: 3}\n")
    return path


@pytest.mark.parametrize(
    ("keys", "line", "basis", "source"),
    [
        ("shared.epochs", 3, None, None),
        ("run.lr", 2, "released", "train.sh"),
        ("run.epochs", 6, "ours", None),
        ("run.tuning.rank", 7, "published", "section 3"),
        ("run.name", 4, None, None),
    ],
    ids=["plain", "merged in", "own before merged in", "inside a tagged mapping", "what is around it"],
)
def test_a_value_has_a_line_and_a_tag(keys, line, basis, source, base):
    assert find(base, tuple(keys.split("."))) == Position(base, line, basis, source)


def test_a_file_that_extends_another_has_its_own_values_and_that_ones(base):
    more = base.with_name("more.yaml")
    assert find(more, ("run", "lr")) == Position(more, 2, None, None)
    assert find(more, ("run", "epochs")) == Position(base, 6, "ours", None)


def test_what_stands_nowhere_is_none(base):
    assert find(base, ("nothing", "here")) is None
