from __future__ import annotations

from robustft.methods.twins import TwinsAT
from robustft.train.objective import Objective

from . import toy


def test_the_objective_returns_the_methods_terms():
    method = TwinsAT(lambda_frozen=0.5, lambda_adaptive=2.0)
    model = method.prepare(toy.network()).eval()
    x, y = toy.splits()["train"].take(slice(0, 6))
    terms = Objective(model, method)(x, x, y)
    expected = method.loss(model, x, x, y).terms
    assert {name: term.item() for name, term in terms.items()} == {k: v.item() for k, v in expected.items()}


def test_the_objectives_parameters_are_the_models():
    model = toy.network()
    objective = Objective(model, TwinsAT(lambda_frozen=1.0, lambda_adaptive=1.0))
    assert {id(p) for p in objective.parameters()} == {id(p) for p in model.parameters()}
