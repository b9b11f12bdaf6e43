"""The errors that a user reads: labelled lines, and the nearest valid name."""

import pytest

from robustft.errors import ConfigError, RobustftError, lookup, nearest


def test_a_message_has_a_labelled_line_for_each_part_that_is_given():
    error = RobustftError("it failed", where="a/b", expected=0, observed="", next_step="try again")
    assert str(error).splitlines() == [
        *("it failed", "  where:    a/b", "  expected: 0", "  observed: ", "  to do:    try again")
    ]
    assert str(RobustftError("it failed")) == "it failed"


def test_a_name_that_is_no_text_is_escaped():
    """A name that is not UTF-8 was a traceback where it was printed, and the real error was lost."""
    assert str(RobustftError("bad", where="caf\udce9/üé寿")) == "bad\n  where:    caf\\udce9/üé寿"


@pytest.mark.parametrize(
    ("name", "valid", "text"),
    [
        ("twinz", {"adapt", "twins"}, "did you mean 'twins'?"),
        ("zzz", {"b", "a"}, "valid names: a, b"),
        ("zzz", (), "valid names: none"),
    ],
)
def test_the_nearest_name_or_else_all_names_are_offered(name, valid, text):
    assert nearest(name, valid) == text


def test_an_unknown_name_of_a_table_is_an_error_with_its_kind_and_place():
    assert lookup({"at": 1}, "at", kind="method", where="f.yaml") == 1
    with pytest.raises(ConfigError, match=r"(?s)unknown method 'ta'.*f\.yaml.*did you mean 'at'"):
        lookup({"at": 1}, "ta", kind="method", where="f.yaml")
