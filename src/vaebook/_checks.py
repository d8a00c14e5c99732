"""Checks of arguments that several modules share."""

import math
import operator

import numpy as np


def whole(name, value, smallest=1):
    """Return value as a Python int. Keras refuses NumPy integers in some places.

    Raises:
        TypeError: if value is not an integer.
        ValueError: if it is less than smallest.
    """
    try:
        integer = operator.index(value)
    except TypeError:
        raise TypeError(f"Expected {name} to be an integer. Received: {value!r}.") from None
    if integer < smallest:
        raise ValueError(f"Expected {name} ≥ {smallest}. Received: {name}={integer}.")
    return integer


def finite(name, value, zero=False):
    """Raise ValueError unless value is finite and > 0 (or ≥ 0, if zero is True)."""
    if not (math.isfinite(value) and (value >= 0 if zero else value > 0)):
        sign = "≥" if zero else ">"
        raise ValueError(f"Expected a finite {name} {sign} 0. Received: {name}={value}.")


def number(name, value, zero=False):
    """Return value as a float, checked as `finite` does.

    Raises:
        TypeError: if value is not a number.
        ValueError: if it is not finite, or negative, or 0 although zero is False.
    """
    try:
        real = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"Expected {name} to be a number. Received: {value!r}.") from None
    finite(name, real, zero)
    return real


def pixels(name, array):
    """Raise ValueError unless array is (n, height, width, channels), finite and in [0, 1]."""
    shape = np.shape(array)
    if len(shape) != 4:
        raise ValueError(
            f"Expected {name} of shape (n, height, width, channels). Received: shape {shape}."
        )
    # initial=0 gives an empty array a range too. If a pixel is NaN, both ends are NaN.
    low, high = np.min(array, initial=0), np.max(array, initial=0)
    if not (np.isfinite([low, high]).all() and low >= 0 and high <= 1):
        raise ValueError(
            f"Expected {name} with finite pixels in [0, 1]. "
            f"Received: pixels from {low} to {high}."
        )
