"""Every kind of array that is taken trains as its NumPy twin; nothing of the user's changes."""

# ruff: noqa: E501 - in the tables a case is a line

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from anyback.training.inputs import Scaler, as_inputs, as_targets, as_weights, cast, fingerprint
from anyback.validation import integer
from tests.conftest import require
from tests.training.small_data import LABELS, REALS, X, changed, trainer

# --- what is taken -------------------------------------------------------------------------------


class Frame:
    """A data frame, as far as NumPy can see."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype=dtype)


class Capsule:
    """Offers DLPack, and nothing else."""

    def __init__(self, values):
        self.values = np.array(values)

    def __dlpack__(self, **options):
        return self.values.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.values.__dlpack_device__()


class OldCapsule(Capsule):
    """Of a time when DLPack knew no versions, devices or copies."""

    def __dlpack__(self, stream=None):
        return self.values.__dlpack__()


def read_only(a):
    a = np.array(a)
    a.flags.writeable = False
    return a


def on_torch(a):
    tensor = require("torch").tensor(a)
    return tensor.requires_grad_() if a.dtype.kind == "f" else tensor


def on_strict_device(a):
    strict = require("array_api_strict")
    return strict.asarray(a, device=strict.Device("device1"))


INPUTS = {
    "list": lambda a: a.tolist(),
    "tuple of rows": lambda a: tuple(a),
    "read-only": read_only,
    "column order": np.asfortranarray,
    "every second": lambda a: np.repeat(a, 2, axis=0)[::2],
    "backwards": lambda a: np.array(a[::-1])[::-1],
    "other byte order": lambda a: a.astype(a.dtype.newbyteorder()),
    "matrix": lambda a: a.view(np.matrix) if a.ndim == 2 else a,
    "torch": on_torch,
    "jax": lambda a: require("jax").numpy.asarray(a),
    "strict on device1": on_strict_device,
    "frame": Frame,
    "DLPack": Capsule,
    "old DLPack": OldCapsule,
}


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_every_kind_of_array_trains_as_its_numpy_twin(kind, backend):
    require(backend)
    make = INPUTS[kind]
    weight = np.linspace(0.5, 1.5, 12)
    plain, given = (trainer(backend=backend, dtype="float64") for _ in range(2))
    plain.fit(X, LABELS, sample_weight=weight, validation_data=(X, LABELS), verbose=0, batch_size=5)
    given.fit(
        make(X),
        make(LABELS),
        sample_weight=make(weight),
        validation_data=(make(X), make(LABELS)),
        verbose=0,
        batch_size=5,
    )
    for name, w in plain.parameters().items():
        np.testing.assert_array_equal(given.parameters()[name], w)
    np.testing.assert_array_equal(given.predict(make(X)), plain.predict(X))
    assert given.evaluate(make(X), make(LABELS)) == plain.evaluate(X, LABELS)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "uint64", "bool", "float16", "float32", "longdouble"])
def test_inputs_of_any_real_dtype(dtype):
    x = (X > 0).astype(dtype)
    for standardize in (False, True):
        runs = [trainer(standardize=standardize) for _ in range(2)]
        runs[0].fit(x, LABELS.astype("uint8"), verbose=0)
        runs[1].fit(x.astype("float64"), LABELS, verbose=0)
        np.testing.assert_array_equal(runs[0].weights, runs[1].weights)


def test_targets_in_other_forms():
    column, row = (trainer("mean_squared_error", 1) for _ in range(2))
    column.fit(X, REALS[:, None], verbose=0)
    row.fit(X, REALS, verbose=0)
    np.testing.assert_array_equal(column.weights, row.weights)
    one_hot, labels = trainer(dtype="float64"), trainer(dtype="float64")
    one_hot.fit(X, np.eye(3, dtype=int)[LABELS], verbose=0)
    labels.fit(X, LABELS[:, None], verbose=0)
    np.testing.assert_allclose(one_hot.weights, labels.weights, atol=1e-12)
    booleans = trainer("binary_cross_entropy", 1)
    booleans.fit(X, REALS > 0, verbose=0)


@pytest.mark.parametrize("backend", ["numpy", "torch", "jax", "array_api_strict"])
@pytest.mark.parametrize("batch_size", [None, 5])
def test_the_arrays_of_the_user_are_never_changed_nor_kept(backend, batch_size):
    require(backend)
    once, twice = (trainer("mean_squared_error", 1, backend=backend, dtype="float64") for _ in range(2))
    data = [X.copy(), REALS[:, None].copy(), np.ones(12), X + 1.0, REALS[:, None].copy()]
    kept = [a.copy() for a in data]

    def fit(made, data, epochs):
        x, y, weight, *held = data
        made.fit(
            x, y, sample_weight=weight, validation_data=held, batch_size=batch_size, epochs=epochs, verbose=0
        )

    fit(once, data, 3)
    for array, before in zip(data, kept, strict=True):
        np.testing.assert_array_equal(array, before)
    fit(twice, data, 1)
    for array in data:
        array[...] = np.nan
    fit(twice, kept, 3)
    assert once.history.rows == twice.history.rows, "what becomes of the arrays after a fit does not matter"
    alive = [weakref.ref(array) for array in data]
    del data, array
    gc.collect()
    assert [ref() for ref in alive] == [None] * len(alive)


def test_predictions_belong_to_the_caller():
    made = trainer(dtype="float64").build(4)
    x = X.copy()
    first = made.predict(x)
    kept = first.copy()
    first[...] = 0.0
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(made.predict(x), kept)


# --- the functions themselves --------------------------------------------------------------------


def test_scaler_keeps_constant_columns_and_many_digits():
    x = np.c_[np.full(9, 1e17 + 8), np.arange(9.0), 1.6e9 + np.arange(9) / 16]
    out = Scaler.fit(x)(x, "float32")
    assert (out[:, 0] == 0).all()
    np.testing.assert_allclose(out[:, 1], out[:, 2], rtol=1e-6)
    assert len(np.unique(out[:, 2])) == 9
    assert len(np.unique(x[:, 2].astype("float32"))) == 1, "after the cast it would be too late"


def test_scaler_goes_through_large_data_in_chunks():
    x = np.random.default_rng(0).normal(3.0, 2.0, (20000, 2))
    scaler = Scaler.fit(x.astype("float32"))
    np.testing.assert_allclose(scaler.scale, x.std(axis=0), rtol=1e-5)
    np.testing.assert_allclose(scaler(x, "float64").std(axis=0), 1, rtol=1e-5)
    for made in Scaler(), scaler:
        with pytest.raises(ValueError, match=r"x must fit into float32, got 1e\+60 at \(19999, 1\)"):
            made(changed(x, (19999, 1), 1e60), "float32")


LARGE = np.random.default_rng(0).normal(size=(3000, 50))  # three pieces


def test_large_data_is_refused_by_its_first_misfit():
    for value in np.nan, np.inf, -np.inf:
        x = changed(changed(LARGE, (2999, 3), value), (2000, 7), value)
        for given in x, x.astype("float32"), np.asfortranarray(x), x[::-1][::-1]:
            with pytest.raises(ValueError, match=rf"x must be finite, got {value} at \(2000, 7\)"):
                as_inputs(given)
    for y, kind, expected in (
        (changed(LARGE, (2000, 7), np.nan), "reals", r"y must be finite, got nan at \(2000, 7\)"),
        (changed(LARGE > 0, (2000, 7), 2), "unit interval", r"y must be in \[0, 1\], got 2.0 at \(2000, 7\)"),
        (changed(LARGE**2, (2000, 7), -1), "counts", r"y must be counts, not negative, got -1.0 at \(2000, 7\)"),
        (changed(np.sign(LARGE), (2000, 7), 0), "signs", r"y must be -1 or 1, got 0.0 at \(2000, 7\)"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=expected):
            as_targets(y, kind, 50, 3000)
    labels = changed(np.zeros(100_000, int), 99_998, 10)
    with pytest.raises(ValueError, match=r"got 10 at row 99998"):
        as_targets(labels, "labels", 10, 100_000)
    with pytest.raises(ValueError, match=r"y must fit into float32, got 1e\+60 at row 99998"):
        cast(changed(np.zeros(100_000), 99_998, 1e60), "float32", "y")


def test_rows_of_a_piece_are_counted_from_its_first():
    x = changed(X, (5, 2), np.nan)
    for rows in (3, 5):
        with pytest.raises(ValueError, match=r"x must be finite, got nan at \(5, 2\)"):
            as_inputs(x[rows:], first_row=rows)
    with pytest.raises(ValueError, match=r"x must be finite, got nan at \(1002000, 7\)"):
        as_inputs(changed(LARGE, (2000, 7), np.nan), first_row=1_000_000)


def test_a_sample_may_be_larger_than_a_piece():
    x = np.random.default_rng(0).normal(size=(3, 100_000))
    assert as_inputs(x) is x
    np.testing.assert_array_equal(Scaler()(x, "float32"), x.astype("float32"))
    with pytest.raises(ValueError, match=r"x must be finite, got nan at \(2, 99999\)"):
        as_inputs(changed(x, (2, 99_999), np.nan))


def unaligned(a):
    raw = np.zeros(a.nbytes + 1, "u1")
    out = raw[1:].view(a.dtype).reshape(a.shape)
    out[...] = a
    return out


def test_what_needs_no_cast_is_not_copied():
    x = LARGE.astype("float32")
    for same in x, read_only(x), np.asfortranarray(x), x[::2], x[::-1]:
        assert as_inputs(same) is same
        assert cast(same, "float32", "x") is same
        assert Scaler()(same, "float32") is same
    for other in unaligned(x), x.astype(">f4"), x.astype("float64"), x.astype("longdouble"):
        out = Scaler()(as_inputs(other), "float32")
        assert out.dtype.isnative
        assert out.flags.aligned
        assert out.flags.c_contiguous
        np.testing.assert_array_equal(out, x)


def test_fingerprints_are_of_the_values_in_order():
    """Checkpoints hold them: they never change."""
    x = np.arange(200_000.0).reshape(400, 500)
    for same in x, np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2], read_only(x):
        assert fingerprint(same) == "4bd49de2a05d995c4f9883c9c8d9fc6d"
    assert (
        fingerprint(np.array(2.0), np.zeros((0, 3)), np.array([True])) == "fd92eccec429992cad6dab0323154b5d"
    )


def test_small_functions():
    assert as_inputs([[1, 2]]).dtype.kind == "i"
    assert as_targets([[0.2, 0.8]], "labels", 2, 1, soft=True).tolist() == [[0.2, 0.8]]
    assert as_weights(None, 12) is None
    assert cast(np.array([1.5]), "float32", "y").dtype == np.float32
    assert integer("n", np.int32(3)) == 3
    assert type(integer("n", np.int32(3))) is int
    a, b = np.arange(6.0), np.arange(6.0).reshape(2, 3)
    assert len({fingerprint(a), fingerprint(b), fingerprint(a.astype("f4")), fingerprint(a, b)}) == 4
    assert fingerprint(b.T) == fingerprint(b.T.copy())
