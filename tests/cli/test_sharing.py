"""Commands that bring results and code to other people: where they write, and what they hand on."""

import importlib
import os
from pathlib import Path

import pytest

from robustft.cli.sharing import EXPORTS
from robustft.errors import ConfigError


@pytest.fixture
def calls(monkeypatch):
    """What the functions behind the commands are called with; each returns its target."""
    made = []

    def note(*arguments, **options):
        options.pop("log", None)
        made.append((*arguments[1:], options))
        return arguments[1] if len(arguments) > 1 else None

    for form in EXPORTS:
        monkeypatch.setattr(f"robustft.export.{form}.export_{form}", note)
    monkeypatch.setattr("robustft.export.publish.publish", note)
    monkeypatch.setattr("robustft.images.build.build_image", note)
    monkeypatch.setattr("robustft.images.builders.choose", lambda name, log: name or "docker")
    return made


@pytest.mark.parametrize(
    ("words", "target", "options"),
    [
        (["cards"], "exports/small/cards", {"unaudited": False}),
        (["page"], "exports/small/page.html", {"unaudited": False}),
        (["page", "--to", "a b.html", "--unaudited"], "a b.html", {"unaudited": True}),
        (["crate"], "exports/small/crate", {"unaudited": False, "include_large": False}),
        (["crate", "--zip", "--all"], "exports/small/crate.zip", {"unaudited": False, "include_large": True}),
    ],
)
def test_an_export_goes_beside_the_results_or_where_it_is_told(words, target, options, command, calls, capsys):
    assert command("export", *words) == 0
    assert calls == [(Path(target), options)]
    assert capsys.readouterr().out == f"{target}\n"


@pytest.mark.parametrize("form", EXPORTS)
def test_each_form_has_its_function(form):
    assert callable(getattr(importlib.import_module(f"robustft.export.{form}"), f"export_{form}"))


def test_the_plan_is_published(command, calls):
    assert command("publish") == 0
    assert calls == [({},)]


def test_a_frozen_clone_is_said_to_be_ready_and_how_to_run_it(command, capsys, monkeypatch):
    monkeypatch.setattr("robustft.provenance.freeze.freeze", lambda folder: folder / "abc")
    monkeypatch.setattr("robustft.provenance.freeze.how_to_run", lambda clone: f"cd {clone}")
    assert command("freeze", "here") == 0
    assert capsys.readouterr().out == "cd here/abc\n"


def test_images_of_all_roles_or_of_those_that_are_named_are_built(command, calls):
    assert command("images", "--force") == 0
    roles = len(calls)
    assert roles > 1
    assert command("images", "report", "--builder", "podman", "--mount", "/srv/index") == 0
    _, settings, *_ = calls[roles]
    assert (len(calls), settings.program, settings.mounts, settings.force) == (
        roles + 1,
        "podman",
        ("/srv/index",),
        False,
    )
    with pytest.raises(ConfigError, match=r"(?s)unknown image role 'reprot'.*did you mean 'report'"):
        command("images", "reprot")


def test_a_report_that_is_newer_than_every_record_is_not_written_again(command, toy_plan, capsys):
    for step in toy_plan.steps.values():
        Path(step.record).parent.mkdir(parents=True, exist_ok=True)
        Path(step.record).touch()
    path = Path("results") / toy_plan.scale / "report.html"
    path.write_text("a report")
    os.utime(path, (2e9, 2e9))
    assert command("report") == 0
    assert capsys.readouterr().out == f"{path} is up to date\n"


def test_results_are_got_and_then_adopted(command, monkeypatch):
    did = []
    monkeypatch.setattr("robustft.export.get.get", lambda plan, log: did.append("get"))
    monkeypatch.setattr("robustft.provenance.adopt.adopt", lambda plan, log: did.append("adopt"))
    assert command("get") == 0
    assert did == ["get", "adopt"]
