"""Checks that more than one module makes of its arguments."""

import math
import operator


def whole(name, value, smallest=1):
    """Return value as a Python int; Keras refuses numpy's integers in some places.

    Raises:
        TypeError: for what is not an integer.
        ValueError: for one that is too small.
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"Expected {name} to be an integer. Received: {value!r}.") from None
    if number < smallest:
        raise ValueError(f"Expected {name} ≥ {smallest}. Received: {name}={number}.")
    return number


def finite(name, value, zero=False):
    """Refuse what is no finite number above 0, or, where zero is True, from 0 on.

    Raises:
        ValueError: for such a number.
    """
    if not (math.isfinite(value) and (value >= 0 if zero else value > 0)):
        sign = "≥" if zero else ">"
        raise ValueError(f"Expected a finite {name} {sign} 0. Received: {name}={value}.")
