"""A comparison in words, in JSON and as an exit status."""

from __future__ import annotations

import json

from robustft.cli import main
from robustft.provenance.compare import Comparison
from robustft.provenance.compare_text import text
from tests.provenance.made_results import AT, cell, folder


def test_the_command_says_it_in_words_in_json_and_by_its_exit_status(tmp_path, capsys):
    folder(tmp_path / "a", cell(AT, [0.5, 0.6, 0.7]))
    folder(tmp_path / "b", cell(AT, [0.8, 0.9, 1.0]), verdict="inconclusive")
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    assert main(["compare", a, a]) == 0
    assert capsys.readouterr().out.endswith("EQUAL: the same numbers\n")
    assert main(["compare", a, b]) == 1
    said = capsys.readouterr().out
    cell_line = "toy/main/cars/at/pgd10 (robustness test): 60.00 +- 10.00 % on 100 images against 90.00 +- 10.00 %"
    assert cell_line in said
    assert "toy/better: holds in A, inconclusive in B" in said
    assert said.endswith("DIFFERENT\n")
    assert main(["compare", a, b, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["same"], found["cells"][0]["status"], found["scale"]) == (False, "differs", "demo")


def test_a_long_list_is_cut_unless_everything_is_asked_for(tmp_path):
    cells = [cell((*AT[:-1], f"pgd{number}"), [0.5]) for number in range(30)]
    found = Comparison(folder(tmp_path / "a", cell(AT, [0.5])), folder(tmp_path / "b", *cells))
    assert "  and 9 more; --all lists them" in text(found)
    assert text(found).count(": none against 50.00 %") == 20
    assert text(found, everything=True).count(": none against 50.00 %") == 29
