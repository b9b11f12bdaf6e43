"""The script for a shell knows every command."""

import subprocess

import pytest

from robustft.cli.parser import CommandLine, main


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_script_names_every_command(shell, capsys):
    pytest.importorskip("shtab")
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert [name for name in CommandLine().commands if name.split()[0] not in script] == []


def test_bash_completes_a_command_and_an_option(capsys):
    pytest.importorskip("shtab")
    main(["completion"])
    script = capsys.readouterr().out + "\n"
    ask = 'COMP_WORDS=({words}); COMP_CWORD={last}; _shtab_robustft; echo "${{COMPREPLY[@]}}"'
    for words, expected in (("robustft aud", "audit"), ("robustft audit --requ", "--require-images")):
        asked = ask.format(words=words, last=len(words.split()) - 1)
        said = subprocess.run(["bash", "-c", script + asked], capture_output=True, text=True, check=True)
        assert said.stdout.split() == [expected]
