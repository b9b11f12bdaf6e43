"""Files as plain trees: no key twice, layers by `extends`, and the basis and line of each value."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustft.config.tree import Tree, extended, merged, parse, read_tree, unwrapped
from robustft.errors import ConfigError


@pytest.fixture
def write(tmp_path):
    """Write files with these texts, and return the path of the first."""

    def make(**texts: str) -> Path:
        for name, text in texts.items():
            (tmp_path / f"{name}.yaml").write_text(text)
        return tmp_path / f"{next(iter(texts))}.yaml"

    return make


def test_a_tag_is_taken_off_its_value_and_kept_under_the_values_path(write):
    path = write(
        a="lr: {value: 0.1, basis: released, source: train.sh}\nruns:\n- {seed: {value: 1, basis: ours}}\n"
        "plain: {value: 3}\n"
    )
    tree = read_tree(path, "scale")
    assert tree.values == {"lr": 0.1, "runs": [{"seed": 1}], "plain": {"value": 3}}
    assert tree.bases == {
        "lr": {"basis": "released", "source": "train.sh"},
        "runs[0].seed": {"basis": "ours", "source": ""},
    }
    assert tree.path == path


def test_an_unknown_basis_is_named_with_the_nearest():
    with pytest.raises(ConfigError, match=r"(?s)recipe\.lr: unknown basis 'relesed'.*did you mean 'released'"):
        unwrapped({"recipe": {"lr": {"value": 1, "basis": "relesed"}}}, "", {}, Path("a.yaml"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: {c: 1, c: 2}\n", r"the key 'c' is given twice[\s\S]*line 2"),
        ("device: cpu: 1\n", "the file is not valid YAML"),
        ("- a\n", r"the file is no mapping[\s\S]*expected: `key: value`"),
        ("", "the file is no mapping"),
    ],
)
def test_a_file_that_is_no_tree_is_an_error_with_its_path(text, message, write):
    path = write(a=text)
    with pytest.raises(ConfigError, match=message) as error:
        parse(path)
    assert str(path) in str(error.value)


def test_a_key_over_one_that_is_merged_in_is_not_twice(write):
    assert parse(write(a="one: &one {x: 1, y: 2}\ntwo: {<<: *one, x: 3}\n"))["two"] == {"x": 3, "y": 2}


def test_a_file_that_extends_another_is_laid_over_it_and_takes_keys_away_by_a_null(write):
    path = write(
        tiny="extends: small\nrecipe: {lr: 2, decay: ~}\nabout: ~\n", small="about: A\nrecipe: {lr: 1, decay: 1}\n"
    )
    assert read_tree(path, "scale").values == {"recipe": {"lr": 2}}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a": "extends: smal\n", "small": "x: 1\n"}, r"there is no scale 'smal'[\s\S]*did you mean 'small'"),
        ({"a": "extends: b\n", "b": "extends: a\n"}, r"extends itself[\s\S]*a -> b -> a"),
    ],
)
def test_what_extends_nothing_or_itself_is_an_error(files, message, write):
    with pytest.raises(ConfigError, match=message):
        read_tree(write(**files), "scale")


def test_merged_lays_mappings_over_each_other_without_touching_them():
    base = {"a": {"x": 1, "y": 2}, "b": 3}
    assert merged(base, {"a": {"y": 5}, "c": 6}) == {"a": {"x": 1, "y": 5}, "b": 3, "c": 6}
    assert base == {"a": {"x": 1, "y": 2}, "b": 3}
    assert merged(base, {"a": 4}) == {"a": 4, "b": 3}


def test_a_tagged_value_is_replaced_whole():
    """Laid over key by key, the new value would keep the old one's source."""
    published = {"lr": {"value": 1, "basis": "published", "source": "Table 1"}}
    assert merged(published, {"lr": {"value": 2, "basis": "ours"}}) == {"lr": {"value": 2, "basis": "ours"}}


def test_extended_takes_away_what_is_null_in_the_extension():
    assert extended({"a": {"x": 1, "y": 2}, "b": 3}, {"a": {"x": None}, "b": None}) == {"a": {"y": 2}}


@pytest.mark.parametrize(
    ("keys", "name", "line"),
    [
        (("title",), "main", 1),
        (("experiments", "one", "recipe", "lr"), "part", 2),
        (("experiments", "one", "recipe", "epochs"), "base", 2),
        (("experiments", "one", "seeds", 1), "part", 5),
        (("experiments", "one", "recipe", "unknown"), "part", 1),
        (("unknown",), "main", 1),
    ],
    ids=["main file", "part", "extended by the part", "list", "nearest around it", "nowhere"],
)
def test_a_value_has_the_file_and_line_of_the_deepest_place_that_holds_it(keys, name, line, write):
    main = write(
        main="title: T\n",
        part="recipe:\n  lr: {value: 1, basis: ours}\nseeds:\n- 0\n- 1\n",
        base="recipe:\n  epochs: 3\n",
    )
    part, base = (main.with_name(f"{name}.yaml") for name in ("part", "base"))
    prefix = ("experiments", "one")
    tree = Tree(((main, ()), (part, prefix), (base, prefix)), {})
    assert tree.place(keys) == (main.with_name(f"{name}.yaml"), line)
    assert tree.where(keys) == f"{main.with_name(f'{name}.yaml')}, line {line}"


NINE = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 50_000, "nested deeper than"),
        ("- " * 50_000 + "a", "nested deeper than"),
        ("a: &a [*a]\n", "contains itself"),
        (NINE, "of more than"),
        ("? [a]\n: 1\n", "no name of a key"),
        ("a: \0\n", "control characters"),
        ("a: " + "9" * 10_000, "digits"),
        ("extends: ../../x\n", "no name of a file"),
        ("extends: [a]\n", "no name of a file"),
        ("a: !!python/object/apply:os.system ['true']\n", "could not determine a constructor"),
    ],
    ids=lambda text: text[:12],
)
def test_yaml_that_would_end_the_process_or_never_end_is_refused(text, message, write):
    """Brackets 50,000 deep ended it: libyaml's composer recurses in C."""
    with pytest.raises(ConfigError, match=message):
        read_tree(write(main=text), "scale")


def test_a_file_that_is_not_utf8_is_an_error_with_its_path(write):
    path = write(main="a: 1\n")
    path.write_bytes(b"a: \xff\xfe\n")
    with pytest.raises(ConfigError, match="utf-8"):
        parse(path)
