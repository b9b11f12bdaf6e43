from __future__ import annotations

import contextlib
import dataclasses
import math
from fractions import Fraction

import pytest
import torch
from torch import nn

from robustft.attacks.pgd import Budget
from robustft.attacks.threat import ThreatModel
from robustft.errors import ConfigError
from robustft.methods.adversarial_training import AdversarialTraining
from robustft.methods.protocol import Loss, Method, PretrainingContext, Tuned, Wrapping, build_method
from robustft.methods.standard import Standard
from robustft.methods.trades import Trades
from robustft.models.tunings.protocol import Full, Partial

TRADES = "robustft.methods.trades:Trades"


def test_the_total_is_the_plain_sum_of_the_terms():
    loss = Loss({"a": torch.tensor(1.5), "b/c": torch.tensor(-0.25)})
    assert loss.total.item() == 1.25


def test_terms_are_grouped_by_what_stands_before_the_slash_in_the_order_of_their_first():
    names = {"frozen/cross_entropy": 1.0, "x": 2.0, "frozen/kl": 4.0, "adaptive/kl": 8.0, "y": 16.0}
    groups = Loss({name: torch.tensor(value) for name, value in names.items()}).groups()
    assert {name: value.item() for name, value in groups.items()} == {"frozen": 5.0, "all": 18.0, "adaptive": 8.0}
    assert list(groups) == ["frozen", "all", "adaptive"]


def test_a_term_that_is_not_a_number_shows_in_the_total():
    assert math.isnan(Loss({"a": torch.tensor(1.0), "b": torch.tensor(math.nan)}).total.item())


def test_a_specification_becomes_the_method_with_its_parameters():
    spec = {"name": "mine", "implementation": TRADES, "parameters": {"beta": 3.0, "attack_loss": "kl"}}
    assert build_method(spec) == Trades(beta=3.0, attack_loss="kl")


def test_an_unknown_parameter_is_an_error_that_names_the_nearest():
    spec = {"name": "mine", "implementation": TRADES, "parameters": {"betta": 3.0, "attack_loss": "kl"}}
    with pytest.raises(ConfigError, match="'mine': 'Trades' has no parameter 'betta'") as error:
        build_method(spec)
    assert "did you mean 'beta'?" in str(error.value)


def test_a_missing_parameter_is_named():
    spec = {"name": "mine", "implementation": TRADES, "parameters": {"beta": 3.0}}
    with pytest.raises(ConfigError, match="'mine': 'Trades' needs the parameter 'attack_loss'"):
        build_method(spec)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"beta": "6.0", "attack_loss": "kl"}, "beta='6.0'.*a number"),
        ({"beta": True, "attack_loss": "kl"}, "beta=True.*a number"),
        ({"beta": 6.0, "attack_loss": "klx"}, "attack_loss='klx'.*'kl', 'cross_entropy'"),
    ],
)
def test_a_parameter_of_another_kind_is_named_with_what_is_valid(parameters, message):
    spec = {"name": "trades", "implementation": "robustft.methods.trades:Trades", "parameters": parameters}
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        build_method(spec)


def test_a_whole_number_is_a_number():
    spec = {"name": "trades", "implementation": "robustft.methods.trades:Trades"}
    assert build_method({**spec, "parameters": {"beta": 6, "attack_loss": "kl"}}) == Trades(beta=6.0, attack_loss="kl")


def test_a_method_without_a_tuning_is_built_as_it_is():
    spec = {"name": "mine", "implementation": TRADES, "parameters": {"beta": 3.0, "attack_loss": "kl"}, "tuning": None}
    assert build_method(spec) == Trades(beta=3.0, attack_loss="kl")


def test_a_method_with_a_tuning_is_built_as_both():
    tuning = {"implementation": "robustft.models.tunings.protocol:Partial", "parameters": {"frozen": ["head"]}}
    spec = {
        "name": "mine",
        "implementation": TRADES,
        "parameters": {"beta": 3.0, "attack_loss": "kl"},
        "tuning": tuning,
    }
    assert build_method(spec) == Tuned(Trades(beta=3.0, attack_loss="kl"), Partial(frozen=["head"]))


def test_an_unknown_parameter_of_a_methods_tuning_is_named():
    tuning = {"implementation": "robustft.models.tunings.protocol:Partial", "parameters": {"frozn": ["head"]}}
    with pytest.raises(ConfigError, match=r"(?s)'Partial' has no parameter 'frozn'.*'frozen'"):
        build_method(
            {"name": "mine", "implementation": "robustft.methods.standard:Standard", "parameters": {}}
            | {"tuning": tuning}
        )


BUDGET = Budget(ThreatModel("linf", Fraction(1, 10)), 2, Fraction(1, 2), epoch=1.5)


@dataclasses.dataclass(frozen=True)
class Minimal(Method):
    """Only what has no default."""

    def attack(self, model, x, y, *, budget, generator):
        return x + 1

    def loss(self, model, x, x_adv, y):
        return Loss({"a": x_adv.sum()})


def test_what_a_method_does_not_say_leaves_model_and_batch_as_they_are(tiny_model, random_batch):
    model, (x, y) = tiny_model(), random_batch(3)
    method, draws = Minimal(), torch.Generator()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    assert method.prepare(model) is model
    assert method.prepare(model, PretrainingContext()) is model
    assert method.auxiliary_classes(model) is None
    assert method.pretext(x, y, generator=draws) == (x, y)
    assert method.on_step_start(model, generator=draws) is None
    assert method.export(model) is model
    assert (method.uses_source, method.uses_auxiliary) == (False, False)
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert draws.get_state().equal(torch.Generator().get_state())  # and nothing was drawn


def test_a_start_of_which_nothing_is_known_has_no_model_and_no_images():
    start = PretrainingContext()
    assert start.source is None
    assert list(start.target()) == list(start.auxiliary()) == []


class Told:
    """An objective that writes down what it is asked, and answers with a token for each question."""

    uses_source, uses_auxiliary = "source?", "auxiliary?"

    def __init__(self, story):
        self.story = story

    def __getattr__(self, name):
        def answer(*given, **named):
            self.story.append((name, given, named))
            return f"objective.{name}({given[0]})"

        return answer


class Attaching(Full):
    """A tuning that writes down what it is asked."""

    def __init__(self, story):
        object.__setattr__(self, "story", story)

    def prepare(self, model):
        self.story.append(("tuning.prepare", (model,), {}))
        return f"tuned({model})"

    @contextlib.contextmanager
    def attacked(self, model):
        self.story.append(("enter", (model,), {}))
        try:
            yield
        finally:
            self.story.append(("leave", (model,), {}))

    def export(self, model):
        self.story.append(("tuning.export", (model,), {}))
        return f"untuned({model})"


@pytest.fixture
def story():
    return []


@pytest.fixture
def tuned(story):
    return Tuned(Told(story), Attaching(story))


def test_the_tuning_prepares_first_and_exports_last(tuned, story):
    assert tuned.prepare("model", "start") == "objective.prepare(tuned(model))"
    assert story == [("tuning.prepare", ("model",), {}), ("prepare", ("tuned(model)", "start"), {})]
    story.clear()
    assert tuned.export("model") == "untuned(objective.export(model))"
    assert [name for name, *_ in story] == ["export", "tuning.export"]


def test_images_are_attacked_on_what_the_tuning_shows_to_training_attacks_and_on_nothing_else(tuned, story):
    assert tuned.attack("model", "x", "y", budget="budget", generator="draws") == "objective.attack(model)"
    assert [name for name, *_ in story] == ["enter", "attack", "leave"]
    assert story[1] == ("attack", ("model", "x", "y"), {"budget": "budget", "generator": "draws"})
    story.clear()
    tuned.loss("model", "x", "x_adv", "y")
    tuned.on_step_start("model", generator="draws")
    assert {"enter", "leave"}.isdisjoint(name for name, *_ in story)


def test_what_training_attacks_see_is_put_back_when_the_attack_fails(story):
    class Failing(Standard):
        def attack(self, model, x, y, *, budget, generator):
            raise ValueError("no luck")

    with pytest.raises(ValueError, match="no luck"):
        Tuned(Failing(), Attaching(story)).attack("model", "x", "y", budget=BUDGET, generator=None)
    assert [name for name, *_ in story] == ["enter", "leave"]


@pytest.mark.parametrize(
    ("question", "given", "named"),
    [
        ("auxiliary_classes", ("model",), {}),
        ("pretext", ("x", "y"), {"generator": "draws"}),
        ("on_step_start", ("model",), {"generator": "draws"}),
        ("loss", ("model", "x", "x_adv", "y"), {}),
    ],
)
def test_all_else_is_the_objectives(question, given, named, tuned, story):
    answer = getattr(tuned, question)(*given, **named)
    assert answer == (None if question == "on_step_start" else f"objective.{question}({given[0]})")
    assert story == [(question, given, named)]
    assert (tuned.uses_source, tuned.uses_auxiliary) == ("source?", "auxiliary?")


def test_every_function_of_a_method_is_answered_by_a_tuned_one():
    functions = {name for name in vars(Method) if not name.startswith("_")} | {"uses_source", "uses_auxiliary"}
    answered = {name for name in (*vars(Wrapping), *vars(Tuned)) if not name.startswith("_")}
    assert functions == answered - {"inner", "tuning"}


class Prompted(Full):
    """A tuning that adds an offset to the logits, which training attacks do not see."""

    def prepare(self, model):
        model.offset = nn.Parameter(torch.tensor([50.0, 0, 0, 0, 0]))
        model.shown = True
        model.head.register_forward_hook(lambda _, given, logits: logits + model.offset if model.shown else logits)
        return model

    @contextlib.contextmanager
    def attacked(self, model):
        model.shown = False
        yield
        model.shown = True


def test_a_traditional_attack_is_that_of_the_model_without_what_was_attached(tiny_model, random_batch):
    x, y = random_batch(6)
    plain, tuned = AdversarialTraining(), Tuned(AdversarialTraining(), Prompted())

    def adversarial(method, model):
        return method.attack(model, x, y, budget=BUDGET, generator=torch.Generator().manual_seed(0))

    model = tuned.prepare(tiny_model(lived=True)).eval()
    assert torch.equal(adversarial(tuned, model), adversarial(plain, tiny_model(lived=True).eval()))
    assert not torch.equal(adversarial(tuned, model), adversarial(plain, model))  # which sees the offset
    assert torch.equal(model(x).argmax(1), torch.zeros(6, dtype=torch.int64))  # and it is shown again
