"""The pages that people read: their commands are commands, their links lead somewhere, their numbers are bound."""

from __future__ import annotations

import doctest
import importlib.util
import re
import shlex
from pathlib import Path

import pytest

import robustft
from robustft.cli.parser import CommandLine
from robustft.cli.run import snakemake_command
from robustft.errors import lookup
from robustft.files import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
LINE = re.compile(r"^(?:\.venv/bin/)?robustft +(?P<words>[^#\n]*)", re.MULTILINE)
IN_TABLES = re.compile(r"`robustft ([a-z][^`]*)`")
BLOCK = re.compile(r"```(?:sh)?\n(.*?)```", re.DOTALL)
PLACEHOLDER = re.compile(r"\b[A-Z]{2,}\b|…|\.\.\.$")


def commands(page: Path) -> list[str]:
    text = page.read_text(encoding="utf-8")
    found = [match["words"] for block in BLOCK.findall(text) for match in LINE.finditer(block)]
    return [words.strip() for words in (*found, *IN_TABLES.findall(BLOCK.sub("", text)))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_page_is_one_that_the_parser_takes(page):
    parser = CommandLine()
    for words in commands(page):
        first, *rest = shlex.split(words.split(" | ")[0])
        lookup(parser.commands, first, kind="command", where=page)
        if rest and not PLACEHOLDER.search(words):
            arguments = parser.parse([first, *rest])
            if first == "run":
                assert snakemake_command(arguments.words, scale=arguments.scale)[0] == "snakemake"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_to_a_file(page):
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert target.startswith("http") or (page.parent / target).exists(), target


def test_the_reference_has_every_public_name_from_where_it_is_defined():
    text = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    assert {f"{module}.{name}" for name, module in robustft.PUBLIC.items()} == set(
        re.findall(r"^::: (\S+)$", text, re.M)
    )


def test_links_that_leave_the_site_become_the_paths_that_they_name():
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "hooks.py")
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    assert doctest.testmod(hooks) == (0, 2)


def test_the_site_is_built_with_strict_links(tmp_path):
    build = pytest.importorskip("mkdocs.commands.build", reason="needs the packages of envs/docs.txt")
    pytest.importorskip("mkdocstrings", reason="needs the packages of envs/docs.txt")
    from mkdocs.config import load_config

    config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path / "site"))
    build.build(config)
    assert "robustft.autoattack" in (tmp_path / "site" / "api.html").read_text(encoding="utf-8")
    loaded = [
        url
        for page in (tmp_path / "site").rglob("*.html")
        for url in re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="(https?://[^"]+)', page.read_text("utf-8"))
    ]
    assert loaded == [], "a page loads nothing from elsewhere"
