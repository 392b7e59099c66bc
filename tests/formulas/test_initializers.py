"""Initializers: variances, ranges, orthogonality, and the draws they come from."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from anyback import initializers
from anyback.random import Purpose, Stream

SHAPE = (300, 200)


def draw(path="0.weight"):
    return Stream(3, Purpose.WEIGHTS, path)


def test_all_lists_every_function_here():
    here = {
        name
        for name, f in vars(initializers).items()
        if callable(f) and getattr(f, "__module__", "") == initializers.__name__ and not name.startswith("_")
    }
    assert here == set(initializers.__all__)


@pytest.mark.parametrize("name", initializers.__all__)
@pytest.mark.parametrize("shape", [(4, 3), (3, 4), (5,), (2, 3, 4), (1, 1)])
def test_every_initializer_gives_a_float64_array_of_the_shape(name, shape):
    f = getattr(initializers, name)
    w = f(shape, draw())
    assert isinstance(w, np.ndarray) and w.dtype == np.float64 and w.shape == shape and w.flags.c_contiguous
    assert np.isfinite(w).all()
    np.testing.assert_array_equal(f(shape, draw()), w)
    if name not in ("zeros", "ones", "constant"):
        assert (f(shape, draw("1.weight")) != w).any()


@pytest.mark.parametrize(
    ("f", "variance", "limit"),
    [
        (initializers.uniform, 0.1**2 / 12, 0.05),
        (partial(initializers.uniform, low=-2.0, high=2.0), 4**2 / 12, 2.0),
        (initializers.normal, 0.05**2, None),
        (initializers.lecun_uniform, 1 / 200, (3 / 200) ** 0.5),
        (initializers.lecun_normal, 1 / 200, None),
        (initializers.glorot_uniform, 2 / 500, (6 / 500) ** 0.5),
        (initializers.glorot_normal, 2 / 500, None),
        (initializers.he_uniform, 2 / 200, (6 / 200) ** 0.5),
        (initializers.he_normal, 2 / 200, None),
        (initializers.orthogonal, 1 / 300, None),
    ],
)
def test_variances_and_ranges(f, variance, limit):
    w = f(SHAPE, draw())
    assert abs(w.var() / variance - 1.0) < 0.02
    assert abs(w.mean()) < 4.0 * (variance / w.size) ** 0.5
    if limit is not None:
        assert np.abs(w).max() <= limit and np.abs(w).max() > 0.999 * limit


def test_fans_of_a_vector_are_its_length():
    u = draw().uniform(8)
    np.testing.assert_allclose(initializers.he_uniform((8,), draw()), (2.0 * u - 1.0) * (6 / 8) ** 0.5)
    np.testing.assert_allclose(initializers.glorot_uniform((8,), draw()), (2.0 * u - 1.0) * (6 / 16) ** 0.5)


def test_constants_and_options():
    assert (initializers.zeros(SHAPE, draw()) == 0.0).all()
    assert (initializers.ones(SHAPE, draw()) == 1.0).all()
    assert (initializers.constant((3,), draw(), value=2.5) == 2.5).all()
    w = initializers.normal(SHAPE, draw(), std=2.0, mean=10.0)
    np.testing.assert_allclose(w, 10.0 + 2.0 * draw().normal(SHAPE))


@pytest.mark.parametrize(("rows", "columns"), [(7, 7), (4, 9), (9, 4), (1, 5), (5, 1)])
def test_orthogonal_matrices(rows, columns):
    w = initializers.orthogonal((rows, columns), draw(), gain=1.5)
    product = w @ w.T if rows <= columns else w.T @ w
    np.testing.assert_allclose(product, 2.25 * np.eye(min(rows, columns)), atol=1e-13)


@pytest.mark.parametrize("rows", [2, 3])
def test_an_orthogonal_matrix_is_q_of_the_draws_with_a_positive_diagonal_of_r(rows):
    w = initializers.orthogonal((rows, rows), draw())
    r = w.T @ draw().normal((rows, rows))
    np.testing.assert_allclose(np.tril(r, -1), 0.0, atol=1e-14)
    assert (np.diagonal(r) > 0.0).all()


def test_orthogonal_matrices_favour_no_sign():
    signs = [initializers.orthogonal((3, 3), draw(i)) > 0.0 for i in range(400)]
    assert np.abs(np.mean(signs, axis=0) - 0.5).max() < 0.1
    determinants = [np.linalg.det(initializers.orthogonal((3, 3), draw(i))) > 0.0 for i in range(400)]
    assert abs(np.mean(determinants) - 0.5) < 0.1


def test_several_orthogonal_matrices_at_once():
    w = initializers.orthogonal((4, 2, 3), draw())
    np.testing.assert_allclose(w @ w.mT, np.broadcast_to(np.eye(2), (4, 2, 2)), atol=1e-13)
    assert (w[0] != w[1]).all()


def test_bad_arguments_are_named():
    for f in (initializers.he_normal, initializers.orthogonal):
        for shape in ((), (3, 0)):
            with pytest.raises(ValueError, match="shape must have at least one axis and no empty one, got"):
                f(shape, draw())
    with pytest.raises(ValueError, match=r"low <= high, got 1.0, -1.0"):
        initializers.uniform((2,), draw(), low=1.0, high=-1.0)
    for low, high in ((-np.inf, 1.0), (1.0, np.inf), (np.nan, 1.0)):
        with pytest.raises(ValueError, match=f"low <= high, got {low}, {high}"):
            initializers.uniform((2,), draw(), low=low, high=high)
    for std in (-1.0, np.inf, np.nan):
        with pytest.raises(ValueError, match=f"std must be finite and at least 0, got {std}"):
            initializers.normal((2,), draw(), std=std)
