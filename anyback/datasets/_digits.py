"""The 1,797 handwritten digits that are included in the package."""

from __future__ import annotations

import numpy as np

from anyback.arrays import Array

__all__ = ["digits"]


def digits() -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Return the UCI handwritten digits: four fifths are the training set, one fifth is the test set.

    1,797 images of 8 by 8 pixels, written by 13 people. A pixel is the number of inked dots in a 4 by 4
    block (0 to 16), divided by 16. The rows are shuffled with fixed random bits, and one in five images of
    each digit is held out: the same 359 rows on every machine and in every version.

    Returns
    -------
    (x_train, y_train), (x_test, y_test) : tuple of tuple of numpy.ndarray
        ``x`` is float32 in [0, 1] of shape (1438, 64) and (359, 64), ``x.reshape(-1, 8, 8)`` are the
        images; ``y`` is int64 in [0, 10) of shape (1438,) and (359,). Each call returns new arrays.

    Notes
    -----
    Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
    Repository, 1998, https://archive.ics.uci.edu/dataset/80, licence CC BY 4.0: the test set of UCI, as in
    scikit-learn.

    Examples
    --------
    >>> (x_train, y_train), (x_test, y_test) = digits()
    >>> x_train.shape, x_test.shape, x_train.dtype.name
    ((1438, 64), (359, 64), 'float32')
    """
    from importlib.resources import files

    with (
        files("anyback.datasets").joinpath("digits.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as archive,
    ):
        x, y = archive["x"], archive["y"]
    order = np.argsort(np.random.Philox(key=0).random_raw(len(y)), kind="stable")
    x, y = x[order].astype(np.float32) / np.float32(16), y[order].astype(np.int64)
    held = np.zeros(len(y), dtype=bool)
    for digit in range(10):
        rows = np.flatnonzero(y == digit)
        held[rows[2::5]] = True
    return (x[~held], y[~held]), (x[held], y[held])
