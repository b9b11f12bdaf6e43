import argparse

import numpy as np
import pytest

from robustft.cli.evaluating import add_evaluate, evaluate_command
from robustft.cli.parser import main

NETS = "import torch\ndef build(): return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 5))\n"


@pytest.fixture
def mylab(tmp_path, monkeypatch):
    from robustft.cli import evaluating

    (tmp_path / "mylab_cli.py").write_text(NETS)
    np.savez(tmp_path / "mine.npz", images=np.zeros((10, 1, 8, 8), np.uint8), labels=np.arange(10) % 5)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(evaluating, "HERE", tmp_path)
    return tmp_path


def test_the_command_writes_a_card_that_audit_and_explain_read(mylab, capsys):
    line = [
        "evaluate",
        "--model",
        "mylab_cli:build",
        "--data",
        "mine.npz",
        "--eps",
        "1/25",
        "--attacks",
        "pgd10",
        "--to",
        "out",
    ]
    assert main([*line, "--threads", "1", "--device", "cpu"]) == 1  # five classes of equal black images: it guesses
    assert "no better than guessing" in capsys.readouterr().out
    assert (mylab / "out" / "card.html").is_file()
    assert main(["audit", "out"]) == 0
    assert main(["explain", "out"]) == 0
    assert "ledgers/pgd10-linf-1_25.parquet" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"--model": "my.pt"}, "no such file"),
        ({"--model": "mylab_cli:bild"}, "did you mean 'build'"),
        ({"--data": "nowhere"}, "there are no images"),
        ({"--eps": "8/0"}, "eps is no number"),
        ({"--attacks": "pdg20"}, "did you mean"),
        ({"--norm": "l3"}, "unknown norm"),
        ({"--images": "11"}, "from 1 to 10"),
    ],
)
def test_a_wrong_argument_is_one_message(mylab, capsys, changed, said):
    options = {"--model": "mylab_cli:build", "--data": "mine.npz", "--device": "cpu", "--threads": "1", **changed}
    assert main(["evaluate", *(part for pair in options.items() for part in pair)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_the_parser_has_every_option_that_the_command_reads():
    parser = argparse.ArgumentParser()
    add_evaluate(lambda *_, **__: parser)
    arguments = parser.parse_args(["--model", "a", "--data", "b"])
    assert (arguments.eps, arguments.norm, arguments.device) == ("8/255", "linf", "auto")
    assert callable(evaluate_command)
