"""What the way from the user's arrays to training costs: time is measured elsewhere, here it is memory.

NumPy reports to tracemalloc what it allocates, so the peak of a call is known to the byte.
"""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import pytest

import anyback as ab
from anyback.training.data_checks import Scaler, as_inputs, as_targets, cast, fingerprint
from tests.conftest import require

ROWS, WIDTH = 51_200, 196  # batches are small beside the whole
MB = 1_000_000


@pytest.fixture(scope="module")
def large():
    """Samples (51200, 196) of 40 MB in float32, and labels of four classes."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((ROWS, WIDTH), dtype=np.float32), rng.integers(0, 4, ROWS)


def peak(call):
    """Most bytes that `call` held at once beside what there was before."""
    gc.collect()
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def trainer(**options):
    return ab.Trainer(ab.MLP([8], 4), "softmax_cross_entropy", **{"backend": "numpy", **options})


def fit(made, x, y, **options):
    return made.fit(x, y, **{"batch_size": 256, "verbose": 0, **options})


# --- how much ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fit_evaluate_and_predict_copy_nothing(large, dtype):
    x, y = large
    x = x if dtype == "float32" else x[: ROWS // 2].astype(dtype)
    y = y[: len(x)]
    made = trainer(dtype=dtype, metrics=["accuracy"])
    assert peak(lambda: fit(made, x, y, epochs=2)) < x.nbytes / 4
    assert peak(lambda: fit(made, x, y, epochs=4, validation_data=(x, y))) < x.nbytes / 4
    assert peak(lambda: made.evaluate(x, y, batch_size=256)) < x.nbytes / 4
    assert peak(lambda: made.predict(x, batch_size=256)) < x.nbytes / 4, "with what it returns"


def test_standardising_takes_one_copy(large):
    x, y = large
    made = trainer(standardize=True)
    assert peak(lambda: fit(made, x, y)) < 1.25 * x.nbytes
    assert peak(lambda: made.evaluate(x, y, batch_size=256)) < 1.25 * x.nbytes
    assert peak(lambda: made.predict(x, batch_size=256)) < 1.25 * x.nbytes


def test_casting_takes_one_copy(large):
    x, y = large
    single = x[: ROWS // 2].nbytes
    for given in x[: ROWS // 2].astype(np.float64), np.asfortranarray(x[: ROWS // 2]):
        made = trainer()
        assert peak(lambda: fit(made, given, y[: len(given)])) < 1.5 * single  # noqa: B023 - called at once


def test_a_split_takes_its_two_parts(large):
    x, y = large
    assert peak(lambda: fit(trainer(), x, y, validation_split=0.25)) < 1.25 * x.nbytes


def test_looking_takes_next_to_nothing(large):
    x, _ = large
    fortran = np.asfortranarray(x)
    bad = x.copy()
    bad[-1, -1] = np.nan

    def refuse():
        with pytest.raises(ValueError, match=r"got nan at \(51199, 195\)"):
            as_inputs(bad)

    assert peak(lambda: as_inputs(x)) < MB
    assert peak(lambda: Scaler()(x, "float32")) < MB
    assert peak(refuse) < MB
    assert peak(lambda: fingerprint(fortran)) < MB
    assert peak(lambda: Scaler.fit(x)) < 2 * MB
    for make in lambda: Scaler.fit(x)(x, "float32"), lambda: cast(fortran, "float64", "x"):
        out = make().nbytes
        assert peak(make) < out + 2 * MB


def test_wide_targets_are_held_once_in_float64(large):
    x, _ = large
    for kind, y in (
        ("reals", x),
        ("counts", np.abs(x)),
        ("signs", np.where(x > 0, 1.0, -1.0)),
        ("unit interval", x > 0),
    ):
        assert peak(lambda: as_targets(y, kind, WIDTH, ROWS)) < 2 * x.nbytes + 2 * MB  # noqa: B023


# --- the same numbers as of a copy ---------------------------------------------------------------


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


def unaligned(a):
    raw = np.zeros(a.nbytes + 1, np.uint8)
    out = raw[1:].view(a.dtype).reshape(a.shape)
    out[...] = a
    return out


KINDS = {
    "itself": lambda a: a,
    "read-only": read_only,
    "column order": np.asfortranarray,
    "columns of a wider one": lambda a: np.concatenate([a, a], axis=1)[:, : a.shape[1]],
    "every second row": lambda a: np.repeat(a, 2, axis=0)[::2],
    "backwards": lambda a: a[::-1].copy()[::-1],
    "columns backwards": lambda a: a[:, ::-1].copy()[:, ::-1],
    "other byte order": lambda a: a.astype(a.dtype.newbyteorder()),
    "unaligned": unaligned,
    "wider": lambda a: a.astype(np.float64),
    "widest": lambda a: a.astype(np.longdouble),
    "masked, nothing hidden": np.ma.masked_array,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize("standardize", [False, True])
def test_shared_memory_trains_as_a_copy_does(kind, backend, standardize):
    require(backend)
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((400, 300), dtype=np.float32), rng.integers(0, 4, 400)
    given = KINDS[kind](x)
    before = given.tobytes()
    runs = [trainer(backend=backend, standardize=standardize, metrics=["accuracy"]) for _ in range(2)]
    results = []
    for made, data in zip(runs, (x.tolist(), given), strict=True):
        history = fit(made, data, y, epochs=2, batch_size=150, validation_data=(data, y))
        figures = made.evaluate(data, y)
        weights = {name: w.tobytes() for name, w in made.parameters().items()}
        results.append((history.rows, figures, weights, made.predict(data).tobytes()))
    assert results[0] == results[1]
    assert given.tobytes() == before


# --- what is shared is only read -----------------------------------------------------------------


MODELS = {
    "dense": lambda: ab.MLP([8], 4),
    "norms": lambda: ab.MLP([8, 8], 4, norm="batch", dropout=0.2),
    "activation first": lambda: ab.Sequential([ab.Activation("relu"), ab.Dense(4)]),
    "dropout first": lambda: ab.Sequential([ab.Dropout(0.2), ab.LayerNorm(), ab.Dense(4)]),
    "residual first": lambda: ab.Sequential([ab.Residual(ab.Sequential([ab.Dense(6)])), ab.Dense(4)]),
    "flatten alone": lambda: ab.Sequential([ab.Flatten(), ab.Residual(ab.Flatten()), ab.Dense(4)]),
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("batch_size", [None, 16])
@pytest.mark.parametrize("writeable", [False, True])
def test_the_arrays_of_the_user_keep_their_bytes(model, batch_size, writeable):
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((50, 6), dtype=np.float32), np.eye(4)[rng.integers(0, 4, 50)]
    data = [x, y, rng.random(50), x + 1, y.copy()]
    for array in data:
        array.flags.writeable = writeable
    before = [array.tobytes() for array in data]
    made = ab.Trainer(MODELS[model](), "softmax_cross_entropy", backend="numpy", metrics=["accuracy"])
    made.fit(
        *data[:2],
        sample_weight=data[2],
        validation_data=data[3:],
        batch_size=batch_size,
        epochs=6,  # enough to be recorded and replayed
        verbose=0,
    )
    made.evaluate(*data[:2], sample_weight=data[2])
    for _ in range(4):
        made.predict(data[0])[...] = 0.0
    assert [array.tobytes() for array in data] == before


def test_what_another_fit_is_given_is_what_it_reads():
    """An array may hold other numbers next time, and be the same object."""
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((50, 6), dtype=np.float32), rng.integers(0, 4, 50)
    one, two = trainer(), trainer()
    for epochs in (5, 10):
        fit(one, x, y, epochs=epochs, batch_size=10)
        fit(two, x.copy(), y, epochs=epochs, batch_size=10)
        assert one.evaluate(x, y) == two.evaluate(x.copy(), y)
        x *= 2
    assert one.history.rows == two.history.rows


def test_evaluating_the_same_array_while_it_changes():
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((50, 6), dtype=np.float32), rng.integers(0, 4, 50)
    changing, seen, twin = x.copy(), [], trainer()

    class Watch(ab.callbacks.Callback):
        def on_epoch_end(self, trainer, logs):
            changing[...] = x * trainer.epoch
            seen.append(trainer.evaluate(changing, y))
            twin.build(6)
            twin.set_state(trainer.state())
            assert twin.evaluate(changing.copy(), y) == seen[-1]

    fit(trainer(), x, y, epochs=6, callbacks=[Watch()])
    assert len({figures["loss"] for figures in seen}) == 6
