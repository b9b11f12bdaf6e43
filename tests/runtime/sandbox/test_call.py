"""A process that does what a hostile file may make a decoder do: nothing of it is more than one error here."""

from __future__ import annotations

import dataclasses

import pytest

from robustft.errors import ConfigError, IntegrityError
from robustft.runtime.sandbox.call import Limits, call
from tests.runtime.sandbox import inmates

LIMITS = Limits(memory_bytes=300 << 20, file_bytes=1 << 20, cpu_s=60)


@pytest.fixture
def ask(tmp_path):
    """Call an inmate with limits and lines of the log."""
    lines = []

    def call_it(function, *, limits=None, writes=(), **arguments):
        changed = dataclasses.replace(LIMITS, **(limits or {}))
        reads = [tmp_path / "input"]
        try:
            return call(
                function, arguments, reads=reads, writes=writes, limits=changed, scratch=tmp_path, log=lines.append
            )
        finally:
            assert list(tmp_path.glob("room-*")) == []

    call_it.lines = lines
    return call_it


def test_an_answer_and_the_log_come_back(ask):
    value, held = ask(inmates.answers, text="a\udce9\x1b")
    assert value["text"] == "a\udce9\x1b"
    assert ask.lines == ["begins"]  # what libraries print is no line
    assert set(held) <= {"end of the parent", "network", "files", "memory"}


def test_its_errors_are_raised_here_as_they_are(ask):
    with pytest.raises(ConfigError) as error:
        ask(inmates.refuses)
    assert str(error.value) == str(ConfigError("no", where="x", expected=1))


def test_an_error_that_nobody_thought_of_is_no_traceback(ask):
    with pytest.raises(
        IntegrityError, match=r"a file cannot be decoded[\s\S]*IndexError: pop from empty list \(inmates"
    ):
        ask(inmates.is_buggy)


def test_a_crash_names_the_member(ask):
    """A damaged Matlab file or picture took the whole step with it."""
    with pytest.raises(IntegrityError, match=r"where:    archive\.tar: member\.jpg\n[\s\S]*it crashed \(SIGSEGV\)"):
        ask(inmates.crashes)


def test_memory_beyond_the_limit_is_refused_and_less_is_not(ask):
    assert ask(inmates.fills, megabytes=100)[0] == 100 << 20
    with pytest.raises(IntegrityError, match=r"where:    archive\.tar: member\.jpg\n.*it needs more memory"):
        ask(inmates.fills, megabytes=8192)


def test_a_process_that_does_nothing_or_computes_for_ever_is_ended(ask):
    with pytest.raises(IntegrityError, match=r"where:    slow\.jpg\n[\s\S]*it did nothing for 1 s"):
        ask(inmates.sleeps, limits={"stall_s": 1.0})
    with pytest.raises(IntegrityError, match=r"where:    endless\.jpg\n[\s\S]*more than 1 s"):
        ask(inmates.computes, limits={"cpu_s": 1})


def test_its_output_has_a_budget(ask, tmp_path):
    output = tmp_path / "output"
    output.touch()
    ask(inmates.writes, path=str(output), size=1 << 20, writes=[output])
    assert output.stat().st_size == 1 << 20
    with pytest.raises(IntegrityError, match=r"where:    bomb\.gz\n.*it unpacks to more than its output may have"):
        ask(inmates.writes, path=str(output), size=(1 << 20) + 1, writes=[output])


def test_what_the_kernel_holds_cannot_be_done(ask, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    private, output = tmp_path / "private", tmp_path / "output"
    private.write_text("secret", encoding="utf-8")
    output.touch()
    answer, held = ask(inmates.tries, private=str(private), output=str(output), writes=[output])
    assert output.read_text(encoding="utf-8") == "mine"
    assert "AWS_SECRET_ACCESS_KEY" not in answer["variables"]
    if "files" in held:
        assert not {"read", "write", "make", "run"} & set(answer["worked"])
    if "network" in held:
        assert "connect" not in answer["worked"]
    if not {"files", "network"} <= set(held):
        pytest.skip(f"this kernel only holds: {', '.join(held)}")
    assert private.read_text(encoding="utf-8") == "secret"
