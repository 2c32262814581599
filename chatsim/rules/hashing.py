"""Spreading whole numbers evenly, as balancers and brokers do."""

from __future__ import annotations

MASK = 0xFFFFFFFF


def spread(number: int) -> int:
    """A 32-bit hash of a whole number of up to 63 bits (the finaliser of MurmurHash3, public domain).

    >>> spread(1) != spread(2) and 0 <= spread(1) < 2**32
    True
    """
    bits = int((number ^ (number >> 32)) & MASK)  # numpy's own whole numbers warn when a product is too large for them
    bits ^= bits >> 16
    bits = (bits * 0x85EBCA6B) & MASK
    bits ^= bits >> 13
    bits = (bits * 0xC2B2AE35) & MASK
    return bits ^ (bits >> 16)
