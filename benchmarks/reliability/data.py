"""Bad data: rejected by argument, place and value before training, or accepted and equal to a reference."""

# ruff: noqa: E501 - in the tables a case is a line

from __future__ import annotations

import contextlib
import gzip
import io
import os
import pickle
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

import anyback as ab
from anyback import losses, metrics
from benchmarks.reliability import Settings, outcome

X = np.random.default_rng(0).normal(size=(12, 4))
LABELS = np.arange(12) % 3
REALS = X[:, 0]
ONES = np.ones(12)


def put(array: Any, place: Any, value: Any) -> np.ndarray:
    """Return a copy of an array with one element changed."""
    array = np.array(array, dtype=np.result_type(array, np.asarray(value).dtype))
    array[place] = value
    return array


def trained(x: Any, y: Any, loss: str = "softmax_cross_entropy", **options: Any) -> np.ndarray:
    """Return the weights after a fit of three epochs, in float64."""
    settings = {name: options.pop(name) for name in ("dtype", "standardize", "metrics") if name in options}
    outputs = 3 if loss in ("softmax_cross_entropy", "multiclass_hinge") else 1
    trainer = ab.Trainer(ab.MLP([5], outputs), loss, backend="numpy", **{"dtype": "float64", **settings})
    begun = []
    options["callbacks"] = [ab.callbacks.Lambda(on_fit_start=lambda t: begun.append(t))]
    try:
        trainer.fit(x, y, **{"epochs": 3, "verbose": 0, "shuffle": False, **options})
    except Exception:
        assert not begun and not trainer.updates, "training had begun"
        raise
    return np.array(trainer.weights)


def reals(x: Any, y: Any, **options: Any) -> np.ndarray:
    """Return the weights after a fit of a regression."""
    return trained(x, y, "mean_squared_error", **options)


def fitted() -> ab.Trainer:
    """Return a trainer for samples of four features."""
    return ab.Trainer(ab.MLP([5], 3), "softmax_cross_entropy", backend="numpy").build(4)


def torch() -> Any:
    """Return PyTorch; ImportError if it is missing."""
    import torch

    return torch


# --- the library: rejected data and messages ------------------------------------------------------

REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "x NaN": (lambda: trained(put(X, (5, 2), np.nan), LABELS), r"x must be finite, got nan at \(5, 2\)"),
    "x infinite": (lambda: trained(put(X, (0, 1), -np.inf), LABELS), r"x must be finite, got -inf at \(0, 1\)"),
    "x a number": (lambda: trained(3.0, LABELS), r"x must have shape \(samples, features\), got \(\)"),
    "x of one axis": (lambda: trained(REALS, LABELS), r"x must have shape .*, got \(12,\): one feature is x\[:, None\]"),
    "x too wide": (lambda: fitted().fit(np.ones((12, 5)), LABELS), r"x must have samples of shape \(4,\), got \(5,\)"),
    "x without rows": (lambda: trained(X[:0], LABELS[:0]), r"x must not be empty, got shape \(0, 4\)"),
    "x without columns": (lambda: trained(X[:, :0], LABELS), r"x must not be empty, got shape \(12, 0\)"),
    "x longer than y": (lambda: trained(X, LABELS[:-1]), r"x and y must have the same number of rows, got 12 and shape \(11,\)"),
    "x complex": (lambda: trained(put(X + 0j, (3, 1), 2j), LABELS), r"x must hold real numbers, got dtype complex128, 2j at \(3, 1\)"),
    "x None": (lambda: trained(None, LABELS), "x must hold real numbers, got dtype object, None$"),
    "x a path": (lambda: trained("data.csv", LABELS), "x must hold real numbers, got dtype <U8, 'data.csv'$"),
    "x a mapping": (lambda: trained({"a": [1.0]}, LABELS), "x must hold real numbers, got dtype object, {'a': "),
    "x a generator": (lambda: trained((row for row in X), LABELS), "x must hold real numbers, got dtype object, <generator"),
    "x with a word": (lambda: trained([[1.0, 2.0], [3.0, "a"]], [0, 1]), r"x must hold real numbers, got dtype <U\d+, 'a' at \(1, 1\)"),
    "x with a hole": (lambda: trained(put(X.astype(object), (4, 1), None), LABELS), r"x must hold real numbers, got dtype object, None at \(4, 1\)"),
    "x objects": (lambda: trained(X.astype(object), LABELS), r"x must hold real numbers, got dtype object such as 0\.1.*: astype\(float\)"),
    "x decimals": (lambda: trained([[Decimal(1)] * 4] * 12, LABELS), r"got dtype object such as Decimal\('1'\): astype\(float\)"),
    "x beyond floats": (lambda: trained([[0, 10**400]] * 12, LABELS), r"x must hold real numbers, got dtype object, 1000\d* at \(0, 1\)"),
    "x dates": (lambda: trained(X.astype("M8[s]"), LABELS), r"x must hold real numbers, got dtype datetime64\[s\], datetime.* at \(0, 0\)"),
    "x a structure": (lambda: trained(np.zeros(12, [("a", float)]), LABELS), r"x must hold real numbers, got dtype \[\('a', '<f8'\)\], \(0\.0,\) at row 0"),
    "x ragged": (lambda: trained([[1.0, 2.0], [3.0, 4.0], [5.0]], [0, 1, 2]), r"x must be .* nested list .* \(row 2 is \[5\.0\], of another length than row 0 with 2\)"),
    "x masked": (lambda: trained(np.ma.masked_greater(X, 1.0), LABELS), "x must have no masked elements, got [0-9]+ of them"),
    "x sparse": (lambda: trained(torch().eye(12, 4).to_sparse(), LABELS), "x must be an array .* got Tensor .*sparse|Sparse"),
    "x without data": (lambda: trained(torch().ones(12, 4, device="meta"), LABELS), "x must be an array .* got Tensor .*no data"),
    "x too large": (lambda: trained(put(X, (2, 3), 1e39), LABELS, dtype="float32"), r"x must fit into float32, got 1e\+39 at \(2, 3\)"),
    "x too large in a part": (lambda: trained(put(X, (2, 3), 1e39), LABELS, dtype="float32", validation_split=0.5), r"^x must fit into float32, got 1e\+39 at \(2, 3\)"),
    "x too large held out": (lambda: trained(X, LABELS, dtype="float32", validation_data=(put(X, (2, 3), 1e39), LABELS)), r"^validation x must fit into float32, got 1e\+39 at \(2, 3\)"),
    "x a long double": (lambda: trained(put(X.astype(np.longdouble), (3, 1), np.longdouble(2) ** 2000), LABELS), r"x must fit into float64, got (1\.148\d*e\+602|inf) at \(3, 1\)"),
    "x too large to standardise": (lambda: trained(put(X, (2, 3), 1e200), LABELS, standardize=True), r"x is too large to be standardised, got 1e\+200 at \(2, 3\)"),
    "y None": (lambda: trained(X, None), "y must hold real numbers, got dtype object, None$"),
    "y a number": (lambda: reals(X, 1.0), r"x and y must have the same number of rows, got 12 and shape \(\)"),
    "y infinite": (lambda: reals(X, put(REALS, 3, np.inf)), r"y must be finite, got inf at \(3, 0\)"),
    "y NaN": (lambda: reals(X, put(REALS, 3, np.nan)), r"y must be finite, got nan at \(3, 0\)"),
    "y too wide": (lambda: reals(X, X[:, :2]), r"y must have shape \(12, 1\) for 1 outputs, got \(12, 2\)"),
    "y in a row": (lambda: reals(X, REALS[None]), r"x and y must have the same number of rows, got 12 and shape \(1, 12\)"),
    "y too large in a part": (lambda: reals(X, put(REALS, 7, 1e39), dtype="float32", validation_split=0.5), r"^y must fit into float32, got 1e\+39 at row 7|\(7, 0\)"),
    "label too large": (lambda: trained(X, put(LABELS, 7, 3)), r"y: labels must be integers in \[0, 3\), got 3 at row 7"),
    "label negative": (lambda: trained(X, put(LABELS, 2, -1)), r"y: labels must be integers in \[0, 3\), got -1 at row 2"),
    "label beyond int64": (lambda: trained(X, np.full(12, 2**64 - 1, np.uint64)), r"labels must be integers in \[0, 3\), got 18446744073709551615 at row 0"),
    "label a fraction": (lambda: trained(X, put(LABELS, 4, 0.5)), r"labels must be integers in \[0, 3\), got float64 values such as 0\.5 at row 4"),
    "label NaN": (lambda: trained(X, put(LABELS, 3, np.nan)), "labels must be integers .* got float64 values such as nan at row 3"),
    "labels floats": (lambda: trained(X, LABELS + 0.0), r"got float64 values such as 0\.0: astype\(int\) makes labels of them"),
    "labels words": (lambda: trained(X, ["a", "b", "c"] * 4), r"y must hold real numbers, got dtype <U1, 'a' at row 0: np\.unique"),
    "labels with a hole": (lambda: trained(X, [0, 1, None] * 4), "y must hold real numbers, got dtype object, None at row 2"),
    "labels masked": (lambda: trained(X, np.ma.masked_equal(LABELS, 2)), "y must have no masked elements, got 4 of them"),
    "labels in columns": (lambda: trained(X, np.stack([LABELS] * 2, axis=1)), r"labels must have shape \(12,\), got \(12, 2\)"),
    "no probabilities": (lambda: trained(X, np.full((12, 3), 0.5)), r"probabilities of a row must sum to 1, got 1\.5 at row 0"),
    "no sign": (lambda: trained(X, put(ONES, 4, 0.0), "hinge"), r"y must be -1 or 1, got 0\.0 at \(4, 0\)"),
    "no count": (lambda: trained(X, put(ONES, 4, -1.0), "poisson"), r"y must be counts, not negative, got -1\.0 at \(4, 0\)"),
    "no share": (lambda: trained(X, put(ONES, 4, 1.5), "binary_cross_entropy"), r"y must be in \[0, 1\], got 1\.5 at \(4, 0\)"),
    "weight negative": (lambda: trained(X, LABELS, sample_weight=put(ONES, 11, -2.0)), r"sample_weight must not be negative, got -2\.0 at row 11"),
    "weight NaN": (lambda: trained(X, LABELS, sample_weight=put(ONES, 6, np.nan)), "sample_weight must be finite, got nan at row 6"),
    "weights all zero": (lambda: trained(X, LABELS, sample_weight=0 * ONES), "sample_weight must be above 0 somewhere, got 12 weights of 0"),
    "weights too few": (lambda: trained(X, LABELS, sample_weight=[1.0]), r"sample_weight must have shape \(12,\), got \(1,\)"),
    "weights words": (lambda: trained(X, LABELS, sample_weight=["a"] * 12), "sample_weight must hold real numbers, got dtype <U1, 'a' at row 0"),
    "class unknown": (lambda: trained(X, LABELS, class_weight={3: 1.0}), "class_weight names class 3, expected one of 0 to 2"),
    "class weight NaN": (lambda: trained(X, LABELS, class_weight={0: np.nan}), "class_weight must be finite and not negative, got nan for class 0"),
    "batch_size 0": (lambda: trained(X, LABELS, batch_size=0), "batch_size must be an integer of at least 1, got 0"),
    "epochs NaN": (lambda: trained(X, LABELS, epochs=np.nan), "epochs must be an integer of at least 1, got nan"),
    "shuffle a word": (lambda: trained(X, LABELS, shuffle="no"), "shuffle must be True or False, got 'no'"),
    "standardize a word": (lambda: trained(X, LABELS, standardize="no"), "standardize must be True or False, got 'no'"),
    "validation NaN": (lambda: trained(X, LABELS, validation_data=(put(X, (1, 1), np.nan), LABELS)), r"validation x must be finite, got nan at \(1, 1\)"),
    "validation label": (lambda: trained(X, LABELS, validation_data=(X, put(LABELS, 5, 9))), r"validation y: labels must be .* got 9 at row 5"),
    "predict before": (lambda: ab.Trainer(ab.MLP([], 1), "huber", backend="numpy").predict(X), "this trainer has no weights yet: call fit"),
    "predict NaN far down": (lambda: fitted().predict(put(np.ones((3000, 4)), (2500, 1), np.nan)), r"x must be finite, got nan at \(2500, 1\)"),
    "predict too large far down": (lambda: fitted().predict(put(np.ones((3000, 4)), (2500, 1), 1e39)), r"x must fit into float32, got 1e\+39 at \(2500, 1\)"),
    "predict one sample": (lambda: fitted().predict(X[0]), r"got \(4,\): one sample is x\[None, :\]"),
    "evaluate another label": (lambda: fitted().evaluate(X, put(LABELS, 8, 3)), "labels must be integers .* got 3 at row 8"),
    "loss of a list": (lambda: losses.huber([[1.0]], [[1.0]]), "pred must be an array, got builtins.list"),
    "loss of integers": (lambda: losses.huber(np.ones((2, 1), int), np.ones((2, 1))), "pred must hold floating-point numbers, got int64"),
    "loss that would broadcast": (lambda: losses.huber(np.ones((2, 1)), np.ones(2)), r"target must have the shape \(2, 1\) for pred \(2, 1\), got \(2,\)"),
    "loss of two libraries": (lambda: losses.huber(np.ones((2, 1)), torch().ones(2, 1)), "target must be an array of the library of pred, numpy, got torch.Tensor"),
    "metric of two libraries": (lambda: metrics.r2(np.ones((2, 1)), torch().ones(2, 1)), "target must be an array of the library of pred, numpy, got torch.Tensor"),
    "update of two libraries": (lambda: ab.SGD().step(np.ones(2), torch().ones(2), (), 1), "g must be an array of the library of w, numpy, got torch.Tensor"),
}  # fmt: skip

# --- the library: accepted data and references ----------------------------------------------------

CONSTANT = np.c_[X, np.full(12, 1e9 + 0.1)]

TAKEN: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "one class": (lambda: trained(X, 0 * LABELS), lambda: trained(X, np.eye(3)[0 * LABELS])),
    "a batch larger than the data": (lambda: trained(X, LABELS, batch_size=10**30), lambda: trained(X, LABELS, batch_size=None)),
    "a constant column": (lambda: trained(CONSTANT, LABELS, standardize=True), lambda: trained(put(CONSTANT, (slice(None), 4), 0.0), LABELS, standardize=True)),
    "a weight of zero": (lambda: trained(X, LABELS, sample_weight=put(ONES, 11, 0.0)), lambda: trained(X[:11], LABELS[:11], sample_weight=ONES[:11])),
    "tiny weights": (lambda: trained(X, LABELS, sample_weight=1e-320 * ONES), lambda: trained(X, LABELS, sample_weight=ONES)),
    "boolean inputs": (lambda: trained(X > 0, LABELS), lambda: trained((X > 0) + 0.0, LABELS)),
    "half precision": (lambda: trained(X.astype("f2"), LABELS), lambda: trained(X.astype("f2").astype(float), LABELS)),
    "big endian": (lambda: trained(X.astype(">f8"), LABELS.astype(">i2")), lambda: trained(X, LABELS)),
    "backwards in memory": (lambda: trained(X[::-1, ::-1], LABELS), lambda: trained(X[::-1, ::-1].copy(), LABELS)),
    "a mask that hides nothing": (lambda: trained(np.ma.array(X), LABELS), lambda: trained(X, LABELS)),
    "labels in a column": (lambda: trained(X, LABELS[:, None]), lambda: trained(X, LABELS)),
    "boolean labels": (lambda: trained(X, LABELS > 1), lambda: trained(X, (LABELS > 1).astype(int))),
    "classes by truth": (lambda: trained(X, LABELS, class_weight={True: 2.0}), lambda: trained(X, LABELS, class_weight={1: 2.0})),
    "a tensor and an array": (lambda: trained(torch().tensor(X, requires_grad=True), LABELS), lambda: trained(X, LABELS)),
    "nested lists": (lambda: trained(X.tolist(), LABELS.tolist()), lambda: trained(X, LABELS)),
}  # fmt: skip

# --- the command line -----------------------------------------------------------------------------

ABSENT = "of PyTorch or JAX, which is not installed"
ROWS = "u,v,kind\n" + "".join(f"{i % 7},{i % 5},{'ab'[i % 2]}\n" for i in range(40))
N, TWO = np.arange(120.0).reshape(40, 3) % 7, np.arange(40) % 2


def _npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def _npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


_BOMB = (
    b"\x93NUMPY\x01\x00v\x00"
    + b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 8), }".ljust(117)
    + b"\n"
)

# A file's name, its content, further arguments, and the expected message.
FILES: dict[str, tuple[str, str | bytes | None, tuple[str, ...], str]] = {
    "no file": ("none.csv", None, (), "no such file: .*none.csv"),
    "a folder": ("folder.csv/x", "", (), r"folder\.csv: expected IDX files in this folder"),
    "another kind": ("data.parquet", "PAR1", (), r"expected a file that ends in \.csv.* got '\.parquet'"),
    "empty": ("data.csv", "", (), r"data\.csv: the file is empty"),
    "blank lines": ("data.csv", "\n \n\n", (), r"data\.csv: the file is empty"),
    "a header alone": ("data.csv", "u,v,kind\n", (), r"data\.csv: has a header but no rows"),
    "one column": ("data.csv", "u\n1\n2\n", (), r"data\.csv: expected inputs and a target .* got one column, 'u'"),
    "a missing cell": ("data.csv", ROWS + "1,,a\n", (), "line 42, column 'v': missing value, got ''"),
    "a missing target": ("data.csv", ROWS + "1,2,\n", (), "line 42, column 'kind': missing target, got ''"),
    "a short row": ("data.csv", ROWS + "1,2\n", (), "line 42 has 2 cells, expected 3"),
    "a long row": ("data.csv", ROWS + "1,2,a,4\n", (), "line 42 has 4 cells, expected 3"),
    "a word": ("data.csv", ROWS + "x,2,a\n", (), "line 42, column 'u': expected a number, got 'x'"),
    "NaN": ("data.csv", ROWS + "nan,2,a\n", (), "line 42, column 'u': missing value, got nan"),
    "infinity": ("data.csv", ROWS + "1,-Infinity,a\n", (), "line 42, column 'v': expected a finite number, got -inf"),
    "1e999": ("data.csv", ROWS + "1e999,2,a\n", (), "line 42, column 'u': expected a finite number, got inf"),
    "1_000": ("data.csv", ROWS + "1_000,2,a\n", (), "line 42, column 'u': expected a number, got '1_000'"),
    "a decimal comma": ("data.csv", ROWS.replace(",", ";") + "1,5;2;a\n", (), "line 42, column 'u': expected a number, got '1,5': write decimals with a point"),
    "decimal commas everywhere": ("data.csv", "u;v;y\n1,5;2,0;a\n2,5;1,0;b\n", (), "line 2, column 'u': expected a number, got '1,5': write decimals with a point"),
    "decimal commas of the target": ("data.csv", "u;y\n1;0,5\n2;0,7\n", (), "line 2, column 'y': expected a number, got '0,5': write decimals with a point"),
    "a quote left open": ("data.csv", ROWS + '"1,2,a\n', (), "line 42: unexpected end of data"),
    "a field too long": ("data.csv", ROWS + "1" * 200_000 + ",2,a\n", (), "line 42: field larger than field limit"),
    "a NUL": ("data.csv", ROWS + "1\0,2,a\n", (), r"line 42, column 'u': expected a number, got '1\\x00'"),
    "UTF-16": ("data.csv", ROWS.encode("utf-16"), (), "line 1 is not UTF-8 text, got the byte 0xf[ef]: save it as UTF-8"),
    "UTF-16 without a mark": ("data.csv", ROWS.encode("utf-16-le"), (), r"line 1, column 0: expected a number, got 'u\\x00': it contains a NUL, as in UTF-16"),
    "UTF-32": ("data.csv", ROWS.encode("utf-32"), (), "line 1 is not UTF-8 text"),
    "Latin-1": ("data.csv", ROWS.replace("a", "é").encode("latin-1"), (), "line 2 is not UTF-8 text, got the byte 0xe9: save it as UTF-8"),
    "compressed": ("data.csv", gzip.compress(ROWS.encode()), (), "line 1 is not UTF-8 text, got the byte"),
    "two columns of a name": ("data.csv", ROWS.replace("u,v", "u,u"), (), "column names must be unique, got 'u' more than once"),
    "no such target": ("data.csv", ROWS, ("--target", "kinds"), "no target column 'kinds'; did you mean 'kind'"),
    "a target beyond": ("data.csv", ROWS, ("--target", "7"), r"the target must be in \[0, 3\), as there are 3 columns, got 7"),
    "nothing to drop": ("data.csv", ROWS, ("--drop", "w"), "no column 'w' to drop"),
    "one class": ("data.csv", ROWS.replace("b", "a"), (), "targets must have at least two classes, got one: 'a'"),
    "a number among names": ("data.csv", ROWS + "1,2,3.5\n", (), "line 42, column 'kind': expected a class name as in other rows, got '3.5'"),
    ".npz of classes that round to one": ("data.npz", _npz(x=N[:6], y=np.array([2**60, 2**60 + 1, 7] * 2)), (), f"y: too many digits for a number, got {2**60 + 1}"),
    ".npy of classes that round to one": ("data.npy", _npy(np.array([[1, 2**60], [2, 2**60 + 1]] * 9)), (), f"target: too many digits for a number, got {2**60 + 1}"),
    "classes that round to one": ("data.csv", "u,kind\n" + f"1,{10**18}\n2,{10**18 + 1}\n" * 9, (), f"line 3, column 'kind': too many digits for a number, got '{10**18 + 1}'"),
    "two rows": ("data.csv", "u,v,kind\n1,2,a\n3,4,b\n", (), "--test 0.2 of 2 rows leaves an empty split"),
    ".npz of objects": ("data.npz", _npz(x=N, y=np.array([None] * 40)), (), r"data\.npz: y would have to be unpickled"),
    ".npz with NaN": ("data.npz", _npz(x=put(N, (3, 1), np.nan), y=TWO), (), r"x must be finite, got nan at row 3, column 1"),
    ".npz complex": ("data.npz", _npz(x=N + 1j, y=TWO), (), "x must hold numbers, got dtype complex128"),
    ".npz too short": ("data.npz", _npz(x=N, y=TWO[:-1]), (), r"x and y must have the same number of rows, got \(40, 3\) and \(39,\)"),
    ".npz without targets": ("data.npz", _npz(x=N), (), "expected the arrays x and y, or --target"),
    ".npz without rows": ("data.npz", _npz(x=N[:0], y=TWO[:0]), (), r"y is empty: its shape is \(0,\)"),
    ".npz of one axis": ("data.npz", _npz(x=N[:, 0], y=TWO), (), r"expected inputs of shape .* x is \(40,\)"),
    ".npz, targets of three axes": ("data.npz", _npz(x=N, y=np.zeros((40, 2, 2))), (), r"targets must have the shape \(n,\) or \(n, k\), got \(40, 2, 2\)"),
    ".npz, another label held out": ("data.npz", _npz(x_train=N, y_train=TWO, x_test=N, y_test=TWO + 5), (), r"y_test must hold labels in \[0, 2\), got 5 at row 0"),
    ".npz, another width held out": ("data.npz", _npz(x_train=N, y_train=TWO, x_test=N[:, :2], y_test=TWO), (), r"x_test must have samples of shape \(3,\) as x_train has, got \(2,\)"),
    ".npz too large": ("data.npz", _npz(x=put(N, (2, 0), 1e300), y=TWO), ("--test", "0", "--validation", "0"), r"x is too large to be standardised, got 1e\+300 at \(2, 0\)"),
    ".npz cut off": ("data.npz", _npz(x=N, y=TWO)[:200], (), "not a NumPy file, or a damaged one"),
    ".npy pickled": ("data.npy", pickle.dumps([1]), (), "would have to be unpickled"),
    ".npy of objects": ("data.npy", _npy(np.array([[1, None]])), (), "would have to be unpickled"),
    ".npy of one axis": ("data.npy", _npy(np.ones(5)), (), r"expected a matrix .* got the shape \(5,\)"),
    ".npy that says 58 TiB": ("data.npy", _BOMB, (), "is larger than the available memory|damaged"),
    "--batch-size 0": ("data.csv", ROWS, ("--batch-size", "0"), "--batch-size must be .* got '0'"),
    "--epochs 0": ("data.csv", ROWS, ("--epochs", "0"), "epochs.* 0"),
    "--lr nan": ("data.csv", ROWS, ("--lr", "nan"), "lr must be positive and finite or a schedule, got nan"),
    "--validation 1.5": ("data.csv", ROWS, ("--validation", "1.5"), r"--validation must be in \[0, 1\), got 1\.5"),
    "--hidden x": ("data.csv", ROWS, ("--hidden", "8,x"), "--hidden must be positive integers .* got 'x'"),
}  # fmt: skip

# Accepted files, and a plain file that must give the same weights.
SAME: dict[str, tuple[str, bytes]] = {
    "UTF-8 with a mark": ("data.csv", b"\xef\xbb\xbf" + ROWS.encode()),
    "lines of a Mac": ("data.csv", ROWS.replace("\n", "\r").encode()),
    "lines of Windows": ("data.csv", ROWS.replace("\n", "\r\n").encode()),
    "semicolons": ("data.csv", ROWS.replace(",", ";").encode()),
    "tabs": ("data.tsv", ROWS.replace(",", "\t").encode()),
    "spaces and quotes": ("data.csv", re.sub(r"\n(\d)", '\n" \\1"', ROWS).encode()),
    "no header": ("data.csv", ROWS.partition("\n")[2].encode()),
}  # fmt: skip


def command(folder: Path, name: str, content: str | bytes | None, *options: str) -> tuple[Any, str, Path]:
    """Train on a file with the command line: exit code, output, and the folder of the run."""
    from anyback.cli import app

    file, out = folder / name, folder / "run"
    if content is not None:
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
    file = file if file.parent == folder else file.parent
    said, code = io.StringIO(), None
    arguments = ["train", str(file), "--hidden", "4", "--epochs", "2", "-q", "--out", str(out), *options]
    if "--epochs" in options:
        del arguments[4:6]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        try:
            app(arguments, prog_name="anyback")
        except SystemExit as end:
            code = end.code
    return code, said.getvalue(), out


def refusal(name: str) -> str | None:
    """Return what is wrong with the library's rejection of a case; None if nothing."""
    act, expected = REFUSED[name]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            act()
    except (TypeError, ValueError, RuntimeError) as error:
        return _unlike(str(error), expected)
    except ImportError:
        return ABSENT
    except Exception as error:
        return f"untyped: {error!r}"
    return "taken without a word"


def difference(name: str) -> str | None:
    """Return how an accepted case differs from its reference; None if it does not."""
    given, reference = TAKEN[name]
    try:
        got, wanted = given(), reference()
    except ImportError:
        return ABSENT
    same = got.shape == wanted.shape and np.allclose(got, wanted, rtol=1e-12, atol=1e-14)
    return None if same and np.isfinite(got).all() else f"weights differ by {np.abs(got - wanted).max():.1e}"


def refusal_of_file(name: str) -> str | None:
    """Return what is wrong with the command line's rejection of a case; None if nothing."""
    file, content, options, expected = FILES[name]
    with tempfile.TemporaryDirectory() as folder:
        code, said, out = command(Path(folder), file, content, *options)
        if code != 2:
            return f"ended with {code}: {said}"
        if not said.startswith("error: ") or said.count("\n") != 1:
            return f"not one line: {said}"
        return "a run was begun" if out.exists() else _unlike(said, expected)


def difference_of_file(name: str) -> str | None:
    """Return how training on a file differs from training on the same table in plain form."""
    weights = []
    for file, content in SAME[name], ("data.csv", ROWS.encode()):
        with tempfile.TemporaryDirectory() as folder:
            code, said, out = command(Path(folder), file, content)
            if code not in (0, None):
                return f"ended with {code}: {said}"
            weights.append(ab.Trainer.load(out / "checkpoint.safetensors", backend="numpy").weights)
    return None if np.array_equal(*weights) else "other weights"


def _unlike(said: str, expected: str) -> str | None:
    if "\n" in said.rstrip("\n") or len(said) > 500:
        return f"not one line: {said}"
    return None if re.search(expected, said) else f"says {said!r}, not {expected!r}"


# --- extreme logits -------------------------------------------------------------------------------


def _softplus(x: Any) -> Any:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _sigmoid(x: Any) -> Any:
    return np.where(x >= 0, 1, np.exp(np.minimum(x, 0))) / (1 + np.exp(-np.abs(x)))


def _softmax(z: Any) -> tuple[Any, Any]:
    e = np.exp(z - z.max())
    return z.max() + np.log(e.sum()), e / e.sum()


def _focal(z: Any, t: Any) -> tuple[Any, Any]:
    u = (2 * t - 1) * z
    q = _sigmoid(-u)
    return q**2 * _softplus(-u), (2 * t - 1) * -(2 * q**2 * (1 - q) * _softplus(-u) + q**3)


def _huber(z: Any, t: Any) -> tuple[Any, Any]:
    e = z - t
    return np.where(np.abs(e) <= 1, e**2 / 2, np.abs(e) - 0.5), np.clip(e, -1, 1)


def _log_cosh(z: Any, t: Any) -> tuple[Any, Any]:
    e = np.abs(z - t)
    return e + np.log1p(np.exp(-2 * e)) - np.log(e * 0 + 2), np.tanh(z - t)


def _cross_entropy(z: Any, t: Any) -> tuple[Any, Any]:
    logsum, p = _softmax(z)
    return logsum - z[t], p - np.eye(len(z))[t]


def _divergence(z: Any, t: Any) -> tuple[Any, Any]:
    logsum, p = _softmax(z)
    return np.sum(np.where(t > 0, t * (np.log(np.where(t > 0, t, 1)) - z + logsum), 0)), p - t


def _hinges(z: Any, t: Any) -> tuple[Any, Any]:
    other = np.arange(len(z)) != t
    over = np.where(other & (z - z[t] + 1 > 0), 1, 0)
    return np.sum(over * (z - z[t] + 1)), np.where(other, over, -over.sum())


# For one sample in long doubles: (loss, its gradient).
EXACT: dict[str, Callable[[Any, Any], tuple[Any, Any]]] = {
    "binary_cross_entropy": lambda z, t: (_softplus(z) - t * z, _sigmoid(z) - t),
    "focal": _focal,
    "hinge": lambda z, t: (np.maximum(1 - t * z, 0), np.where(1 - t * z > 0, -t, 0)),
    "huber": _huber,
    "kl_divergence": _divergence,
    "log_cosh": _log_cosh,
    "mean_absolute_error": lambda z, t: (np.abs(z - t), np.sign(z - t)),
    "mean_squared_error": lambda z, t: ((z - t) ** 2, 2 * (z - t)),
    "multiclass_hinge": _hinges,
    "poisson": lambda z, t: (np.exp(z) - t * z, np.exp(z) - t),
    "quantile": lambda z, t: (np.abs(z - t) / 2, np.sign(z - t) / 2),
    "smooth_l1": _huber,
    "softmax_cross_entropy": _cross_entropy,
}


def extremes(name: str, dtype: str) -> Iterator[tuple[np.ndarray, Any]]:
    """Yield single predictions and targets of a loss: 1e4 in float32 and 700 in float64, and less."""
    large = 1e4 if dtype == "float32" else 700.0
    large = min(large, 88.0) if name == "poisson" and dtype == "float32" else large  # exp(89) is too large
    values = [large, -large, large / 2, 30.0, -1.0, 0.0]
    kind = getattr(losses, name).targets
    if kind == "labels" or name == "kl_divergence":
        for row in [[a, b, c] for a in values for b in values for c in values[:2]]:
            for label in range(3):
                yield np.array(row, dtype), label if kind == "labels" else np.eye(3)[label] * 0.5 + 1 / 6
    else:
        targets = {"signs": (-1.0, 1.0), "unit interval": (0.0, 1.0), "counts": (0.0, 3.0)}.get(
            kind, (0.0, 0.5)
        )
        for value in values:
            for target in targets:
                yield np.array([value], dtype), np.array([target])


def worst(name: str, dtype: str) -> float:
    """Return the largest error of loss and gradient at extreme logits, in units of the dtype's precision.

    Errors of a loss are relative to it and to the logits, those of a gradient to it and to 1, the size of the
    probability and the target whose difference it is.
    """
    loss, units = getattr(losses, name), 0.0
    info = np.finfo(dtype)
    for z, t in extremes(name, dtype):
        target = np.array([t]) if np.ndim(t) == 0 else np.array([t], dtype)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            value, vjp = loss(z[None], target)
            gradient = vjp()[0]
        wide = z.astype(np.longdouble)
        exact = EXACT[name](wide, t if np.ndim(t) == 0 else target[0].astype(np.longdouble))
        for got, wanted in zip((value, gradient), exact, strict=True):
            if not np.isfinite(got).all():
                return float("inf")
            error = np.abs(np.asarray(got, np.longdouble) - wanted).max()
            size = np.abs(wanted).max() + (np.abs(wide).max() if got is value else 1.0)
            units = max(units, float(error / (float(info.eps) * size + float(info.tiny))))
    return units


def run(settings: Settings) -> list[dict[str, Any]]:
    """Run the tables of bad and unusual data, and every loss at extreme logits; always all of them."""
    chosen, os.environ["ANYBACK_BACKEND"] = os.environ.get("ANYBACK_BACKEND"), "numpy"
    try:
        tables = {
            "bad data rejected by name": {name: refusal(name) for name in REFUSED},
            "unusual data, same as plain form": {name: difference(name) for name in TAKEN},
            "bad files rejected by name": {name: refusal_of_file(name) for name in FILES},
            "unusual files, same as plain form": {name: difference_of_file(name) for name in SAME},
        }
    finally:
        del os.environ["ANYBACK_BACKEND"]
        os.environ |= {} if chosen is None else {"ANYBACK_BACKEND": chosen}
    rows = []
    for name, found in tables.items():
        tried = {case: why for case, why in found.items() if why != ABSENT}
        wrong = {case: why for case, why in tried.items() if why}
        less = {"skipped": ABSENT} if len(tried) < len(found) else {}
        rows.append(outcome(name, len(tried) - len(wrong), len(wrong), **wrong, **less))
    errors = [worst(name, dtype) for name in EXACT for dtype in ("float32", "float64")]
    far = sum(not units < 16 for units in errors)
    most = {"largest error, in the last place": round(max(errors), 1)}
    return [*rows, outcome("losses at extreme logits", len(errors) - far, far, **most)]
