"""Checks of single values: what they accept, what they return, and what they say."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

import anyback as ab
from anyback import callbacks, schedules
from anyback.validation import boolean, integer, is_number, number

RANGES = {
    # name of the range: numbers inside, numbers outside
    "positive and finite": ([1e-300, 1, 1e300], [0, -1, math.inf]),
    "finite and not negative": ([0, -0.0, 2.5], [-1e-300, math.inf, 10**400]),
    "in [0, 1)": ([0, 0.5, np.nextafter(1.0, 0.0)], [-0.1, 1, 2]),
    "in (0, 1)": ([1e-300, 0.5], [0, 1]),
    "in (0, 1]": ([1e-300, 1], [0, 1.1]),
    "in [0, 1]": ([0, 1], [-1e-9, 1.1]),
}
NO_NUMBERS = [math.nan, True, np.True_, "0.5", None, [0.5], np.asarray([0.5]), 0.5j]


@pytest.mark.parametrize("name", RANGES)
def test_a_number_of_a_range_is_returned_as_a_float(name):
    inside, outside = RANGES[name]
    for value in inside:
        assert type(number("x", value, name)) is float and number("x", value, name) == value
    for value in [*outside, *NO_NUMBERS]:
        with pytest.raises(ValueError) as error:
            number("x", value, name)
        assert str(error.value) == f"x must be {name}, got {value!r}"


@pytest.mark.parametrize("value", [np.float32(0.5), np.float64(0.5), np.float16(0.5), Fraction(1, 2)])
def test_numbers_of_numpy_are_numbers(value):
    assert is_number(value) and type(number("x", value)) is float and number("x", value) == 0.5
    assert number("x", np.int8(3)) == 3.0


def test_a_function_and_other_words():
    assert number("x", 3, lambda x: x > 2, "be above 2") == 3.0
    with pytest.raises(ValueError, match=r"^x must be above 2, got 1$"):
        number("x", 1, lambda x: x > 2, "be above 2")
    with pytest.raises(ValueError, match=r"^x must lie in \[0, 1\), got 1$"):
        number("x", 1, "in [0, 1)", "lie in [0, 1)")
    # As a float: in single precision 0.1 would be equal to 0.1 in double.
    with pytest.raises(ValueError, match="0.1"):
        number("x", np.float32(0.1), lambda x: x <= 0.1, "be at most 0.1")


@pytest.mark.parametrize("value", [3, np.int32(3), np.uint8(3), np.asarray(3)])
def test_an_integer_is_returned_as_an_int(value):
    assert type(integer("n", value)) is int and integer("n", value) == 3


@pytest.mark.parametrize("value", [0, -1, 2.0, np.float64(2.0), True, np.True_, "3", None, [3]])
def test_what_is_no_integer_of_the_range_is_named(value):
    with pytest.raises(ValueError) as error:
        integer("n", value)
    assert str(error.value) == f"n must be an integer of at least 1, got {value!r}"


def test_the_ends_of_integers():
    assert integer("n", 0, 0) == 0 and integer("n", 2**64 - 1, 0, 2**64) == 2**64 - 1
    with pytest.raises(ValueError, match="n must be a byte, got 256"):
        integer("n", 256, 0, 256, "be a byte")
    with pytest.raises(ValueError, match="n must be an integer of at least 0, got -1"):
        integer("n", -1, 0)


@pytest.mark.parametrize("value", [True, False, np.True_, np.False_])
def test_a_truth_value_is_returned_as_a_bool(value):
    assert boolean("b", value) is bool(value)


@pytest.mark.parametrize("value", [0, 1, "no", None, 1.0, np.asarray([True])])
def test_what_is_no_truth_value_is_a_type_error(value):
    with pytest.raises(TypeError) as error:
        boolean("b", value, ": why")
    assert str(error.value) == f"b must be True or False, got {value!r}: why"


@pytest.mark.parametrize(
    "make",
    [
        lambda flag: ab.Adam(amsgrad=flag),
        lambda flag: schedules.Cosine(0.1, 10, restarts=flag),
        lambda flag: ab.Dense(3, bias=flag),
        lambda flag: ab.Trainer(ab.MLP([], 1), "huber", backend="numpy", standardize=flag),
        lambda flag: ab.Trainer(ab.MLP([], 1), "huber", backend="numpy").fit(
            [[1.0]], [[1.0]], shuffle=flag, verbose=0
        ),
    ],
)
def test_truth_values_are_checked_the_same_everywhere(make):
    make(True), make(np.False_)
    with pytest.raises(TypeError, match="must be True or False, got 'no'"):
        make("no")


@pytest.mark.parametrize(
    "make",
    [
        lambda x: ab.Dropout(x),
        lambda x: ab.LayerNorm(eps=x),
        lambda x: ab.BatchNorm(momentum=x),
        lambda x: ab.SGD(momentum=x),
        lambda x: schedules.Step(0.1, every=2, factor=x),
        lambda x: callbacks.ReduceOnPlateau(factor=x),
        lambda x: ab.optimizers.clip_by_norm(np.ones(3), x),
    ],
)
def test_numbers_are_checked_the_same_everywhere(make):
    make(0.5), make(np.float32(0.5))
    for value in (math.nan, "0.5", True):
        with pytest.raises(ValueError, match=f"must .*, got {value!r}"):
            make(value)
