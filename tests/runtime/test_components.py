"""Names of components and their parameters, told from the source text."""

import subprocess
import sys
import textwrap

import pytest

from robustft.errors import ConfigError
from robustft.runtime.components import build, fault_of, full_name, locate

MODULE = textwrap.dedent(
    """
    from dataclasses import dataclass
    from typing import Any, ClassVar, Literal, Mapping, Sequence
    from lab.base import Base as Root
    Norm = Literal["linf", "l2"]
    raise RuntimeError("checking imports nothing")

    @dataclass
    class Loss(Root):
        known: ClassVar[bool] = True
        kind: Literal["a", "b"]
        norm: Norm = "l2"
        sites: Sequence[str] = ()
        depth: int | Literal["all"] | Sequence[int] = 1
        table: Mapping[str, Any] | None = None
        weight: float = 2.0

    class Net:
        def __init__(self, channels: int, *, width: int, flag: bool = False, **more): ...

    def attack(model, x, y, *, threat, generator, steps: int, start: str = "none"): ...
    """
)


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """A package of a user's own."""
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "__init__.py").touch()
    (tmp_path / "lab" / "base.py").write_text("class Base:\n    weight: float\n    beta: float\n")
    (tmp_path / "lab" / "nets.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize(
    ("short", "kind", "full"),
    [
        ("trades.Trades", "method", "robustft.methods.trades:Trades"),
        ("prompts.PromptTuning", "tuning", "robustft.models.tunings.prompts:PromptTuning"),
        ("cifar.cifar10", "loader", "robustft.data.datasets.cifar:cifar10"),
        ("twins_diagnostics.draw", "figure", "robustft.report.figures.twins_diagnostics:draw"),
        ("mylab.nets:build", "backbone", "mylab.nets:build"),
    ],
)
def test_a_short_name_is_one_module_of_its_kind(short, kind, full):
    assert full_name(short, kind) == full


def test_an_unknown_module_is_named_with_the_nearest():
    with pytest.raises(ConfigError, match=r"(?s)no module 'trade' for a method.*did you mean 'trades'"):
        full_name("trade.Trades", "method")


@pytest.mark.parametrize(
    "parameters",
    [
        {"kind": "a", "beta": 1},
        {"kind": "b", "beta": 0.5, "norm": "linf", "sites": ["q"], "depth": "all", "table": {"x": 1}},
        {"kind": "b", "beta": 0.5, "depth": [0, 1], "table": None},
    ],
)
def test_parameters_that_fit_have_no_fault(lab, parameters):
    assert fault_of("lab.nets:Loss", parameters, kind="method") is None


@pytest.mark.parametrize(
    ("parameters", "what", "hint"),
    [
        ({"kind": "a", "betta": 1}, "'Loss' has no parameter 'betta'", "did you mean 'beta'?"),
        ({"kind": "a"}, "'Loss' needs the parameter 'beta'", "add 'beta'"),
        ({"kind": "a", "beta": "6"}, "cannot take beta='6'", "a number"),
        ({"kind": "a", "beta": True}, "cannot take beta=True", "a number"),
        ({"kind": "c", "beta": 1}, "cannot take kind='c'", "one of 'a', 'b'"),
        ({"kind": "a", "beta": 1, "norm": "l1"}, "cannot take norm='l1'", "one of 'linf', 'l2'"),
        ({"kind": "a", "beta": 1, "sites": "q"}, "cannot take sites='q'", "a list of a text"),
        ({"kind": "a", "beta": 1, "depth": 1.5}, "cannot take depth=1.5", "a whole number or 'all' or a list of"),
        ({"kind": "a", "beta": 1, "known": False}, "no parameter 'known'", "valid names"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_valid(lab, parameters, what, hint):
    fault = fault_of("lab.nets:Loss", parameters, kind="method")
    assert what in fault.what
    assert hint in f"{fault.expected} {fault.to_do}"


def test_a_layer_need_not_be_complete_but_must_fit(lab):
    assert fault_of("lab.nets:Loss", {"norm": "l2"}, kind="method", partial=True) is None
    assert fault_of("lab.nets:Loss", {"norm": 2}, kind="method", partial=True)


def test_what_this_package_passes_itself_is_no_parameter(lab):
    assert fault_of("lab.nets:Net", {"width": 4, "anything": 1}, kind="backbone") is None
    assert fault_of("lab.nets:attack", {"steps": 3}, kind="attack") is None
    assert "no parameter 'threat'" in fault_of("lab.nets:attack", {"steps": 3, "threat": 1}, kind="attack").what
    assert "needs the parameter 'steps'" in fault_of("lab.nets:attack", {}, kind="attack").what


@pytest.mark.parametrize(
    ("name", "what"), [("lab.nets:Los", "has no 'Los'"), ("lab.net:Loss", "no module"), ("labb:Loss", "no module")]
)
def test_a_component_that_there_is_not_is_a_fault(lab, name, what):
    assert what in fault_of(name, {}, kind="method").what


def test_building_checks_first_and_says_whose_parameter_it_is():
    trades = "robustft.methods.trades:Trades"
    assert build(trades, {"beta": 1.0, "attack_loss": "kl"}, kind="method", title="mine").beta == 1.0
    with pytest.raises(ConfigError, match="mine: 'Trades' has no parameter 'bet'"):
        build(trades, {"bet": 1.0}, kind="method", title="mine")


def test_locating_names_the_nearest():
    with pytest.raises(ConfigError, match=r"(?s)has no 'Trade'.*did you mean 'Trades'"):
        locate("robustft.methods.trades:Trade")


def test_checking_imports_no_torch():
    code = (
        "import sys\nfrom robustft.runtime.components import fault_of\n"
        "assert fault_of('robustft.methods.trades:Trades', {'beta': 1.0, 'attack_loss': 'kl'}, kind='method') is None\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
