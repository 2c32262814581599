"""Decisions, written once: small functions of numbers, plain Python that numba can compile too.

Names of choices arrive here as numbers: the position of the name in the scenario's list of choices.
"""
