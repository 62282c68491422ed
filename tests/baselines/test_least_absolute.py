"""Linear models of the smallest absolute errors: of one lead, and of many at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import linprog

from gridcast.baselines.least_absolute import fit_least_absolute, ridge_of


def least_by_linear_program(x_NF: np.ndarray, y_N: np.ndarray) -> float:
    """The smallest mean absolute error of any linear model: the oracle."""
    num, width = x_NF.shape
    design = np.concatenate([x_NF, np.ones((num, 1))], axis=1)
    over_and_under = np.concatenate([np.eye(num), -np.eye(num)], axis=1)
    solved: Any = linprog(
        np.concatenate([np.zeros(width + 1), np.ones(2 * num)]),
        A_eq=np.concatenate([design, over_and_under], axis=1),
        b_eq=y_N,
        bounds=[(None, None)] * (width + 1) + [(0, None)] * (2 * num),
    )
    return float(solved.fun / num)


def make_labels(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs of all sizes, and errors with heavy tails."""
    rng = np.random.default_rng(seed)
    x_NF = rng.standard_normal((150, 4)) * [1.0, 50.0, 0.01, 1.0] + [0.0, 900.0, 0.0, 3.0]
    return x_NF, x_NF @ [1.0, 0.1, -40.0, 0.0] + 7.0 + rng.standard_t(2, 150)


@pytest.mark.parametrize("seed", range(4))
def test_the_fit_comes_to_the_least_absolute_error_of_a_linear_program(seed: int) -> None:
    x_NF, y_N = make_labels(seed)
    model = fit_least_absolute(x_NF, y_N[:, None], ridge=1e-6, iterations=200, enough=1e-7)
    found = np.abs(y_N - model.predict(x_NF)[:, 0]).mean()
    least = least_by_linear_program(x_NF, y_N)
    assert least <= found + 1e-5
    assert found <= 1.003 * least
    squares = fit_least_absolute(x_NF, y_N[:, None], ridge=1e-6, iterations=0)
    assert np.abs(y_N - squares.predict(x_NF)[:, 0]).mean() > found


def test_without_an_iteration_each_lead_is_the_ridge_regression_of_scikit_learn() -> None:
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(5)
    x_NF, own_NKC = rng.standard_normal((90, 3)), rng.standard_normal((90, 2, 2)) * 30 + 4
    y_NK = x_NF @ rng.standard_normal((3, 2)) + own_NKC.sum(2) + rng.standard_normal((90, 2))
    model = fit_least_absolute(x_NF, y_NK, own_NKC, ridge=9.0, iterations=0)
    for lead in range(2):
        both = np.concatenate([x_NF, own_NKC[:, lead]], axis=1)
        scale = both.std(0)
        oracle = Ridge(alpha=9.0).fit(both / scale, y_NK[:, lead])
        expected = oracle.predict(both / scale)
        np.testing.assert_allclose(model.predict(x_NF, own_NKC)[:, lead], expected, atol=2e-4)


def test_many_leads_make_the_mean_length_of_their_errors_small() -> None:
    """Less than squares do, and no smaller anywhere near: each lead's errors over its usual one."""
    rng = np.random.default_rng(2)
    x_NF = rng.standard_normal((200, 3))
    noise_NK = rng.standard_t(2, (200, 1)) * [1.0, 5.0] + rng.standard_t(2, (200, 2))
    y_NK = x_NF @ rng.standard_normal((3, 2)) + noise_NK
    squares, found = (
        fit_least_absolute(x_NF, y_NK, ridge=1e-6, iterations=each, enough=0.0) for each in (0, 300)
    )
    typical_K = np.abs(y_NK - squares.predict(x_NF)).mean(0)

    def mean_length(weight_FK: np.ndarray) -> float:
        error_NK = (y_NK - x_NF @ weight_FK - found.bias_K) / typical_K
        return float(np.sqrt((error_NK**2).mean(1)).mean())

    least = mean_length(found.weight_FK)
    assert least < 0.995 * mean_length(squares.weight_FK)
    for _ in range(50):
        other = mean_length(found.weight_FK + rng.standard_normal((3, 2)) * 0.1)
        assert other > least - 1e-4


def test_inputs_of_a_lead_alone_count_as_if_all_leads_had_them_and_others_nothing() -> None:
    x_NF, y_N = make_labels(1)
    y_NK = np.stack([y_N, -y_N], axis=1)
    shared = fit_least_absolute(x_NF, y_NK, iterations=2)
    own_NKC = np.stack([x_NF[:, :2], x_NF[:, :2]], axis=1)
    apart = fit_least_absolute(x_NF[:, 2:], y_NK, own_NKC, iterations=2)
    np.testing.assert_allclose(apart.own_KC, shared.weight_FK[:2].T, rtol=2e-3, atol=1e-5)
    np.testing.assert_allclose(
        apart.predict(x_NF[:, 2:], own_NKC), shared.predict(x_NF), rtol=1e-3, atol=1e-3
    )


def test_a_label_that_is_far_off_does_not_bend_the_fit() -> None:
    x_NF = np.linspace(-1, 1, 101)[:, None]
    y_NK = np.repeat(2 * x_NF + 0.5, 2, axis=1)
    y_NK[7] = 1e4
    model = fit_least_absolute(x_NF, y_NK, ridge=1e-6, iterations=100, enough=0.0)
    found = model.predict(np.array([[0.0], [1.0]]))
    np.testing.assert_allclose(found, [[0.5, 0.5], [2.5, 2.5]], atol=0.01)


def test_inputs_that_say_the_same_nothing_or_more_than_there_are_labels_do_no_harm() -> None:
    rng = np.random.default_rng(0)
    own = rng.standard_normal((60, 1))
    x_NF = np.concatenate([own, own, np.ones((60, 1)), rng.standard_normal((60, 80))], axis=1)
    model = fit_least_absolute(x_NF, 3 * own)
    assert np.isfinite(model.weight_FK).all()
    assert model.weight_FK[2, 0] == 0
    assert model.weight_FK[0, 0] == pytest.approx(model.weight_FK[1, 0], rel=1e-4)
    assert fit_least_absolute(x_NF[:0], own[:0]).predict(x_NF).tolist() == [[0.0]] * 60


def test_fewer_labels_take_more_of_a_ridge() -> None:
    assert ridge_of(100) == pytest.approx(103.0)
    assert ridge_of(1000) == pytest.approx(13.0)
