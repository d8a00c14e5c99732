"""A check that more than one module makes of its arguments."""

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
