from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from robustft.models import class_selection
from robustft.models.class_selection import class_means, most_similar_classes, unbalanced_sinkhorn


def matrix(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def entropy_like(p, q):
    return (p * np.log(p / q) - p + q).sum()


def objective(plan, cost, entropic, rows, columns):
    return (
        (plan * cost).sum()
        + entropic * (plan * (np.log(plan) - 1)).sum()
        + rows * entropy_like(plan.sum(1), 1)
        + columns * entropy_like(plan.sum(0), 1)
    )


@pytest.mark.parametrize(("entropic", "rows", "columns"), [(1.0, 1.0, 100.0), (0.5, 2.0, 3.0)])
def test_one_source_and_one_target_by_hand(entropic, rows, columns):
    # c + e ln p + r ln p + s ln p = 0, so ln p = -c / (e + r + s).
    plan = unbalanced_sinkhorn(matrix([2.0]), entropic=entropic, row_relaxation=rows, column_relaxation=columns)
    assert plan.item() == pytest.approx(math.exp(-2 / (entropic + rows + columns)), abs=1e-12)


def test_two_equal_sources_and_one_target_by_hand():
    # Both carry p: c + (e + r) ln p + s ln 2p = 0, so ln p = -(c + s ln 2) / (e + r + s).
    plan = unbalanced_sinkhorn(matrix([3.0], [3.0]), entropic=1.0, row_relaxation=1.0, column_relaxation=100.0)
    expected = math.exp(-(3 + 100 * math.log(2)) / 102)
    assert plan.flatten().tolist() == pytest.approx([expected] * 2, abs=1e-12)


def test_a_sources_share_falls_with_its_cost_by_hand():
    # The two conditions differ by c1 - c2 + (e + r) ln(p1 / p2) = 0: a cost 2 higher, with e + r = 2, is a factor 1/e.
    plan = unbalanced_sinkhorn(matrix([1.0], [3.0]), entropic=1.0, row_relaxation=1.0, column_relaxation=100.0)
    assert (plan[1] / plan[0]).item() == pytest.approx(math.exp(-1), abs=1e-12)


def test_the_plan_is_the_one_that_a_general_convex_solver_finds():
    cost = np.random.default_rng(0).uniform(0, 3, (4, 3))
    weights = (1.0, 1.0, 100.0)
    ours = unbalanced_sinkhorn(torch.from_numpy(cost), entropic=1.0, row_relaxation=1.0, column_relaxation=100.0)

    def value(logarithm):
        return objective(np.exp(logarithm).reshape(4, 3), cost, *weights)

    found = minimize(value, x0=np.full(12, -1.0), method="BFGS", options={"gtol": 1e-10, "maxiter": 2000})
    assert np.exp(found.x) == pytest.approx(ours.numpy().ravel(), abs=1e-6)
    assert value(np.log(ours.numpy()).ravel()) <= found.fun + 1e-12


def test_costs_that_would_underflow_are_no_trouble():
    # exp(-2000) is 0 in float64; ln p = -2000 / 102 is not far.
    plan = unbalanced_sinkhorn(matrix([2000.0]), entropic=1.0, row_relaxation=1.0, column_relaxation=100.0)
    assert plan.item() == pytest.approx(math.exp(-2000 / 102), rel=1e-10)


def test_class_means_by_hand_over_batches():
    batches = [
        (matrix([1.0, 0.0], [0.0, 2.0]), torch.tensor([0, 2])),
        (matrix([3.0, 4.0], [0.0, 4.0]), torch.tensor([0, 2])),
    ]
    found = class_means(lambda x: 10 * x, batches, 3)
    torch.testing.assert_close(found, matrix([20.0, 20.0], [0.0, 0.0], [0.0, 30.0]))  # nobody is of class 1


def test_the_classes_that_point_the_same_way_as_the_targets_are_kept():
    # Length does not count. Sources 3 and 0 are a target's own direction (cost 0), 1 is half way, 2 opposite.
    target = matrix([1.0, 0.0], [0.0, 1.0])
    source = matrix([0.0, 5.0], [1.0, 1.0], [-1.0, -1.0], [0.1, 0.0])
    assert set(most_similar_classes(source, target, count=2).tolist()) == {0, 3}
    assert most_similar_classes(source, target, count=4).tolist()[2:] == [1, 2]
    assert len(most_similar_classes(source, target, count=9)) == 4


def test_the_constants_of_the_selection_are_those_of_the_released_code(monkeypatch):
    seen = {}

    def sinkhorn(cost, **settings):
        seen.update(settings, cost=cost)
        return 1 / cost

    monkeypatch.setattr(class_selection, "unbalanced_sinkhorn", sinkhorn)
    # Cosines 0.9 and 0.6 with the one target: costs (1 - 0.9) / 0.1 and (1 - 0.6) / 0.1.
    source = matrix([0.9, math.sqrt(0.19)], [3.0, 4.0])
    assert most_similar_classes(source, matrix([2.0, 0.0]), count=1).tolist() == [0]
    torch.testing.assert_close(seen.pop("cost"), matrix([1.0], [4.0]), rtol=0, atol=1e-14)
    assert seen == {"entropic": 1.0, "row_relaxation": 1.0, "column_relaxation": 100.0}
