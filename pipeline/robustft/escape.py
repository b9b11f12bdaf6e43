"""Texts as data of each format: what a title, a record or a file's name says is shown and never obeyed.

Text that ends in a format passes its function here, once. No library does this for all of them; HTML is Python's own.
"""

from __future__ import annotations

import html as _html
import re

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "†": r"$\dagger$",
    "\n": " ",
    "\r": " ",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
}
_LATEX_LETTERS = re.compile("|".join(map(re.escape, _LATEX)))

_FORMULA = re.compile(r"[\t\r=@]|[+-](?![\d.])")
"""What begins a formula in a spreadsheet; a number with its sign does not."""

_RAW_HTML = re.compile(r"(?<!\\)<(?=[A-Za-z/!?])")
_UNESCAPED_BAR = re.compile(r"(?<!\\)\|")
_RST_MARKUP = re.compile(r"[\\`*|_]|^\.\.|:(?=:\s*$)")


def latex(text: str) -> str:
    r"""Return text for LaTeX: no command, and one line.

    >>> latex(r"\input{x} 5 %")
    '\\textbackslash{}input\\{x\\} 5 \\%'
    """
    return _LATEX_LETTERS.sub(lambda match: _LATEX[match[0]], text)


def csv(value: object) -> object:
    """Return a field of CSV that no spreadsheet reads as a formula (OWASP, "CSV Injection").

    >>> csv("=1+1"), csv("-0.5"), csv(-0.5)
    ("'=1+1", '-0.5', -0.5)
    """
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def markdown(text: str) -> str:
    r"""Return text for Markdown: one line, no raw HTML; emphasis and links stay as they are written.

    >>> markdown("p < .001, <b>x</b>")
    'p < .001, \\<b>x\\</b>'
    """
    return _RAW_HTML.sub(r"\\<", " ".join(text.splitlines()))


def markdown_cell(text: str) -> str:
    r"""Return text for a cell of a Markdown table, in which a bar is no border.

    >>> markdown_cell("a | b")
    'a \\| b'
    """
    return _UNESCAPED_BAR.sub(r"\\|", markdown(text))


def html(text: str) -> str:
    """Return text for HTML, also within quotes."""
    return _html.escape(text)


def rst(text: str) -> str:
    r"""Return text for reStructuredText: one line without markup, substitutions and directives.

    >>> rst("|| x ||, `a`_ .. raw:: html")
    '\\|\\| x \\|\\|, \\`a\\`\\_ .. raw:: html'
    """
    return _RST_MARKUP.sub(lambda match: f"\\{match[0]}", " ".join(text.split()))


def terminal(text: object, *, lines: bool = False) -> str:
    r"""Return text for a terminal: no control or formatting characters; line breaks stay with `lines`.

    >>> terminal("a\x1b[8m\nPASS")
    'a\\x1b[8m\\nPASS'
    """
    kept = "\n" if lines else ""
    return "".join(
        letter if letter.isprintable() or letter in kept else letter.encode("unicode_escape").decode("ascii")
        for letter in str(text)
    )
