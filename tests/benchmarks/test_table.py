"""The table of `make bench`: one line a row, and failures that are seen."""

from __future__ import annotations

import pytest

from benchmarks import table
from benchmarks.rows import Row, Spread, machine, write_rows
from robustft.errors import RobustftError
from robustft.files import read_json, write_json


def row(name: str = "case", ratio: float = 2.0, bar: float | None = 1.5, note: str = "note") -> Row:
    return Row(
        "speed", name, "s", Spread(4.0, 3.5, 4.5, 5), Spread(2.0, 1.9, 2.1, 5), Spread(ratio, 1.8, 2.2, 5), bar, note
    )


@pytest.fixture
def measuring(monkeypatch):
    """Let topics be measured by a function; returns the topics that were."""

    def use(rows_of):
        def measured(topic, path, *, quick):
            write_rows(path, rows_of(topic), topic=topic, quick=quick)

        monkeypatch.setattr(table, "measured", measured)

    return use


def test_columns_are_aligned_and_a_group_is_named_once():
    lines = table.printed([row("a"), row("a longer case", bar=None)]).splitlines()
    assert lines[0].split() == list(table.HEAD)
    assert [line.index("4 s") for line in lines[1:]] == [lines[0].index("textbook")] * 2
    assert lines[1].startswith("speed")
    assert lines[2].startswith(" ")
    assert lines[1].endswith("yes")
    assert "4 s (3.5-4.5)" in lines[1]


def test_a_missed_bar_stands_out_and_fails(measuring, capsys, tmp_path):
    measuring(lambda topic: [row("slow", ratio=1.2), row("fast")])
    assert table.table(["dag"], quick=True, stored=False, folder=tmp_path) == 1
    said = capsys.readouterr().out
    assert next(line for line in said.splitlines() if "slow" in line).endswith("NO")
    assert said.splitlines()[0] == "dag (QUICK: small and rough)"
    assert "1 bars reached, 1 not" in said


def test_a_topic_that_fails_is_reported_and_the_others_go_on(measuring, capsys, tmp_path):
    def rows_of(topic):
        if topic == "autoattack":
            raise ValueError("no such thing")
        return [row(topic)]

    measuring(rows_of)
    assert table.table(["training_step", "autoattack", "dag"], quick=False, stored=False, folder=tmp_path) == 1
    said = capsys.readouterr()
    assert "FAILED  autoattack: ValueError: no such thing" in said.out
    assert "training_step" in said.out
    assert "dag" in said.out
    assert "Traceback" in said.err
    written = (tmp_path / "table.md").read_text()
    assert "## autoattack\n\nFAILED: ValueError: no such thing" in written
    assert "| dag |" in written


def test_it_succeeds_when_every_bar_is_reached_and_says_how_far_it_is(measuring, capsys, tmp_path):
    measuring(lambda topic: [row(topic)])
    assert table.table(["dag", "memory"], quick=False, stored=False, folder=tmp_path) == 0
    said = capsys.readouterr().err
    assert "dag (1 of 2;" in said
    assert "memory (2 of 2;" in said
    assert "min left" in said


def test_quick_rows_are_not_stored(measuring, tmp_path):
    measuring(lambda topic: [row(topic)])
    table.table(["dag"], quick=True, stored=False, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_each_topic_says_what_it_was_measured_on_and_its_notes_are_whole_in_the_file(measuring, capsys, tmp_path):
    measuring(lambda topic: [row(f"of {topic}", note=f"{'long ' * 60}end")])
    table.table(["dag", "memory"], quick=False, stored=False, folder=tmp_path)
    said, written = capsys.readouterr().out.splitlines(), (tmp_path / "table.md").read_text()
    about = machine()
    for topic in ("dag", "memory"):
        line = said[said.index(topic) + 1]
        for part in (about["hardware"]["cpu"], "cores", "threads", "load", f"python {about['versions']['python']}"):
            assert part in line
        assert "; commit " in line
        note = next(line for line in said if line.startswith(f"of {topic}: long"))
        assert len(note) <= table.NOTE
        assert note.endswith("...")
        assert f"- of {topic}: {'long ' * 60}end" in written
    assert "QUICK" not in written


def test_stored_rows_are_printed_without_measuring(measuring, capsys, tmp_path):
    def never(topic):
        raise AssertionError("measured")

    measuring(never)
    write_rows(tmp_path / "dag.json", [row("kept")], topic="dag")
    assert table.table(["dag"], quick=False, stored=True, folder=tmp_path) == 0
    assert "kept" in capsys.readouterr().out
    assert table.table(["memory"], quick=False, stored=True, folder=tmp_path) == 1  # none are stored


def test_a_topic_runs_in_a_process_of_its_own_and_its_failure_is_an_error(tmp_path, capfd):
    with pytest.raises(RobustftError, match="status 1"):
        table.measured("no_such_topic", tmp_path / "x.json", quick=True)
    assert "no_such_topic" in capfd.readouterr().err


def test_an_interrupted_call_goes_on_with_the_topics_that_are_not_stored(measuring, tmp_path):
    asked = []

    def rows_of(topic):
        asked.append(topic)
        return [row(topic)]

    measuring(rows_of)
    table.table(["dag"], quick=False, stored=False, folder=tmp_path)
    table.table(["dag", "memory"], quick=False, stored=False, resume=True, folder=tmp_path)
    assert asked == ["dag", "memory"]
    table.table(["dag"], quick=False, stored=False, folder=tmp_path)
    assert asked == ["dag", "memory", "dag"]


@pytest.mark.parametrize("change", [{"quick": True}, {"hardware": {}}, {"git": {"commit": "0" * 40, "clean": True}}])
def test_what_was_measured_roughly_elsewhere_or_of_another_commit_is_measured_again(change, tmp_path):
    path = tmp_path / "dag.json"
    write_rows(path, [row()], topic="dag")
    assert table.finished(path)
    write_json(path, {**read_json(path), **change})
    assert not table.finished(path)
