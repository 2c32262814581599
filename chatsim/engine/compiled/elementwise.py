"""What numpy and scipy make of many numbers at once, of one number: to the last bit, whoever asks.

Draws are made of uniform ones by numpy's exponential and scipy's inverse of the normal distribution. That of the C
library differs from numpy's, which has one for each kind of processor, in the last bit. So handlers call the same loops
as Python does, with one number each.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np


class _Ufunc(ctypes.Structure):
    """The beginning of what numpy's ``PyUFuncObject`` is to programs in C, behind what all objects of Python have."""

    _fields_ = (
        ("nin", ctypes.c_int), ("nout", ctypes.c_int), ("nargs", ctypes.c_int), ("identity", ctypes.c_int),
        ("functions", ctypes.POINTER(ctypes.c_void_p)), ("data", ctypes.POINTER(ctypes.c_void_p)),
        ("ntypes", ctypes.c_int), ("reserved", ctypes.c_int), ("name", ctypes.c_char_p),
    )  # fmt: skip


def exp(value: float) -> float:
    """The exponential of a number, as numpy has it.

    >>> exp(0.3) == float(np.exp([0.3, 0.1])[0])
    True
    """
    return float(np.exp(value))


def ndtri(share: float) -> float:
    """The value below which a standard normal number is with such a chance, as scipy has it.

    >>> ndtri(0.5)
    0.0
    """
    from scipy import special

    return float(special.ndtri(share))


def loop_of(ufunc: Any) -> Any:
    """The loop of a function of one real number, and what it is to be given last: two addresses, one after the other.

    >>> list(loop_of(np.exp))[0] > 0
    True
    """
    kept = _Ufunc.from_address(id(ufunc) + object.__basicsize__)
    if kept.name != ufunc.__name__.encode() or (kept.nin, kept.nout, kept.ntypes) != (1, 1, ufunc.ntypes):
        raise TypeError(f"{ufunc.__name__} is no function of one number as this version of numpy is known to keep it")
    place = ufunc.types.index("d->d")
    return (ctypes.c_void_p * 2)(kept.functions[place], kept.data[place] if kept.data else None)


def loops() -> dict[str, Any]:
    """The loops that handlers call, by the names of their places."""
    from scipy import special

    return {"chatsim_loop_exp": loop_of(np.exp), "chatsim_loop_ndtri": loop_of(special.ndtri)}
