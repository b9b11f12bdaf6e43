"""The command line: its help, and what it answers to a name that it does not know."""

import pytest

from robustft.cli.parser import CommandLine, main


def test_the_help_shows_every_command_once_in_its_group(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    lines = capsys.readouterr().out.splitlines()
    for command in CommandLine().commands:
        name = command.split()[0]
        assert sum(line.startswith(f"  {name} ") for line in lines) == 1, command
    titles = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert {"Before a run:", "After a run:"} <= {*titles}


@pytest.mark.parametrize("command", CommandLine().commands)
def test_each_command_tells_its_options(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([*command.split(), "--help"])
    assert f"usage: robustft {command} " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["trian", "x"], "did you mean 'train'?"),
        (["export", "craet"], "did you mean 'crate'?"),
        (["train", "x", "--lgo", "file"], "did you mean '--log'?"),
        (["export", "crate", "--zpi"], "did you mean '--zip'?"),
        (["train"], "required: id"),
        ([], "required: command"),
        (["images", "--compression", "zip"], "invalid choice: 'zip'"),
        (["data", "nonsense", "--scale", "smoke"], "no data 'nonsense'"),
    ],
)
def test_what_it_does_not_know_is_answered_with_the_nearest_name_and_status_2(arguments, answer, capsys):
    assert main(arguments) == 2
    assert answer in capsys.readouterr().err


def test_it_tells_its_version(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out.startswith("robustft ")
