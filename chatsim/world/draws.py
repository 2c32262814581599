"""Random numbers keyed by what they are for: Philox4x32-10 (Salmon et al. 2011), vectorised in numpy.

A draw is a function of (seed, replication, purpose, entity, index) and of nothing else, so that engines, worker
counts and designs see the same luck. Key = the 64-bit seed, low word first; counter = (index, entity, purpose,
replication), 32 bits each.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from chatsim.world.compiling import Loop
from chatsim.world.tables import Floats

Words = npt.NDArray[np.uint64]
Numbers = npt.NDArray[np.integer]
Short = npt.NDArray[np.uint32]

ROUNDS = 10
MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
WEYL = 0x9E3779B9, 0xBB67AE85
WEYL_WORDS = np.uint64(WEYL[0]), np.uint64(WEYL[1])
LOW = np.uint64(0xFFFFFFFF)
HALF, HIGH_20, LOW_12 = np.uint64(32), np.uint64(20), np.uint64(12)
BLOCK = 1 << 15
"""Draws made at once: the arrays of one block stay in the cache of a core."""


class Purpose(IntEnum):
    """What a draw is for. The numbers are part of every result: never change one, only add."""

    DEGREE = 1
    STUB = 2
    STRENGTH = 3
    GENERATOR_SEED = 4
    GROUP_SIZE = 5
    GROUP_SEED = 6
    GROUP_MEMBER = 7
    GROUP_FILL = 8
    TIE_ORDER = 9
    KNOWN_PARTNERS = 10
    SESSION_GAP = 20
    SESSION_LENGTH = 21
    SECOND_DEVICE = 22
    SECOND_DEVICE_START = 23
    SECOND_DEVICE_END = 24
    JOIN = 25
    FIRST_OPENING = 26
    OPENING_GAP = 30
    OPENING_GROUP = 31
    OPENING_NEW = 32
    OPENING_TARGET = 33
    CONVERSATION_LENGTH = 34
    REPLY_SIDE = 35
    REPLY_DELAY = 36
    REPLY_MEMBER = 37
    MESSAGE_SIZE = 38
    LOAD_TEST = 39
    ENDING_GAP = 40
    ENDING_OTHER = 41
    ENDING_BLOCKS = 42
    INTRUDER = 43
    INTRUSION_GAP = 44
    INTRUSION_VICTIM = 45
    INTRUSION_ROOM = 46
    SPAMMER = 47
    SPAM_GAP = 48
    SPAM_ROOM = 49
    UPLINK = 50
    DOWNLINK = 51
    LINK = 52
    SERVICE = 53
    PLACEMENT = 54
    FRIEND_LIST = 55
    DETOUR = 56
    RETURN = 57
    RETURN_DELAY = 58
    PUSH_LATENCY = 59
    SILENT = 60
    DISTRACTION = 61
    LINK_AGAIN = 62
    RECONNECT = 63
    LOSS = 64
    SLOW_LINK = 65
    SLOW_USER = 66
    FAULT_GAP = 67
    FAULT_REPAIR = 68
    SPAM_SIZE = 70
    CUT_ORDER = 71


def philox4x32(counter: npt.ArrayLike, key: tuple[int, int]) -> Words:
    """Philox4x32-10: the four 32-bit words for each counter.

    ``counter`` has shape (4, ...), its words below 2**32; ``key`` is two such words. Returns shape (4, ...), uint64
    holding 32-bit words. Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.

    >>> [f"{word:08x}" for word in philox4x32([0, 0, 0, 0], (0, 0))]
    ['6627e8d5', 'e169c58d', 'bc57ac4c', '9b00dbd8']
    """
    words = np.asarray(counter, dtype=np.uint64)
    first, second, third, fourth = words[0], words[1], words[2], words[3]
    low, high = key
    for _ in range(ROUNDS):
        left = first * MULTIPLIERS[0]
        right = third * MULTIPLIERS[1]
        first = (right >> HALF) ^ second ^ np.uint64(low)
        third = (left >> HALF) ^ fourth ^ np.uint64(high)
        second = right & LOW
        fourth = left & LOW
        low = (low + WEYL[0]) & 0xFFFFFFFF
        high = (high + WEYL[1]) & 0xFFFFFFFF
    return np.stack([first, second, third, fourth])


def uniform(seed: int, replication: int, purpose: int, entity: npt.ArrayLike, index: npt.ArrayLike) -> Floats:
    """Uniform draws in the open interval (0, 1), one per (entity, index), broadcast against each other.

    Values are odd multiples of 2**-53: never 0, never 1. Raises ValueError where a part of the key does not fit
    its 32 bits (64 for the seed).

    >>> float(uniform(1, 0, Purpose.DEGREE, 7, 0)) == float(uniform(1, 0, Purpose.DEGREE, [7, 8], 0)[0])
    True
    """
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed = {seed}: 0 to 2**64 - 1 is needed")
    _fits_32_bits("replication", replication)
    _fits_32_bits("purpose", purpose)
    entities, indices = np.asarray(entity), np.asarray(index)
    shape = np.broadcast_shapes(entities.shape, indices.shape)
    key = seed & 0xFFFFFFFF, seed >> 32
    are_rows = entities.ndim == 1 and (indices.ndim == 0 or indices.shape == shape)
    if DRAW.fast and are_rows and entities.dtype.kind in "iu" and indices.dtype.kind in "iu":
        drawn, fits = _at_once(key, int(replication), int(purpose), entities, indices)
        if fits:
            return drawn
    _fits_32_bits("entity", entities)
    _fits_32_bits("index", indices)
    if 0 in shape:
        return np.empty(shape)
    blocks = np.nditer(
        [entities, indices, None], flags=["external_loop", "buffered"], order="C", casting="unsafe", buffersize=BLOCK,
        op_flags=[["readonly"], ["readonly"], ["writeonly", "allocate"]],
        op_dtypes=[np.dtype(np.uint64), np.dtype(np.uint64), np.dtype(np.float64)],
    )
    with blocks:
        for entity_block, index_block, out in blocks:
            out[...] = _block(key, int(replication), int(purpose), entity_block, index_block)
        result: Floats = blocks.operands[2]
    return result


def normal(seed: int, replication: int, purpose: int, entity: npt.ArrayLike, index: npt.ArrayLike) -> Floats:
    """Standard normal draws by inversion, keyed as in :func:`uniform`."""
    return normal_of(uniform(seed, replication, purpose, entity, index))


def exponential(seed: int, replication: int, purpose: int, entity: npt.ArrayLike, index: npt.ArrayLike) -> Floats:
    """Exponential draws of mean 1 by inversion, keyed as in :func:`uniform`."""
    drawn = uniform(seed, replication, purpose, entity, index)
    np.log(drawn, out=drawn)
    return np.negative(drawn, out=drawn)


def lognormal(
    seed: int, replication: int, purpose: int, entity: npt.ArrayLike, index: npt.ArrayLike, median: float, sigma: float
) -> Floats:
    """Log-normal draws with the given median and sigma of the logarithm, keyed as in :func:`uniform`."""
    return lognormal_of(uniform(seed, replication, purpose, entity, index), median, sigma)


def normal_of(drawn: Floats) -> Floats:
    """Standard normal draws in the place of uniform ones."""
    from scipy.special import ndtri

    result: Floats = ndtri(drawn, out=drawn)
    return result


def lognormal_of(drawn: Floats, median: float, sigma: float) -> Floats:
    """Log-normal draws in the place of uniform ones."""
    normal_of(drawn)
    np.multiply(drawn, sigma, out=drawn)
    np.exp(drawn, out=drawn)
    return np.multiply(drawn, median, out=drawn)


def _at_once(
    key: tuple[int, int], replication: int, purpose: int, entities: Numbers, indices: Numbers
) -> tuple[Floats, bool]:
    """All draws in one go, where the numbers fit; and whether they do."""
    index, entity = _in_32_bits(indices, len(entities)), _in_32_bits(entities, len(entities))
    if index is None or entity is None:
        return np.empty(0), False
    drawn, words_of_key = np.empty(len(entity)), (np.uint64(word) for word in (*key, purpose, replication))
    DRAW(*words_of_key, index, entity, drawn)
    return drawn, True


def _in_32_bits(values: Numbers, count: int) -> Short | None:
    """So many numbers of so many bits, if they fit: that is one kind to compile for, and mostly as they are."""
    if not 0 <= int(np.bitwise_or.reduce(values, axis=None)) <= LOW:
        return None
    short: Short = values.view(np.uint32) if values.dtype == np.int32 else values.astype(np.uint32)
    return np.require(short if short.ndim else np.full(count, short), requirements=["C_CONTIGUOUS", "WRITEABLE"])


def _block(key: tuple[int, int], replication: int, purpose: int, entities: Words, indices: Words) -> Floats:
    if DRAW.fast:
        drawn = np.empty(len(entities))
        words_of_key = (np.uint64(word) for word in (*key, purpose, replication))
        first, second = (words.astype(np.uint32) for words in (indices, entities))  # as the loop is compiled for
        DRAW.fast(*words_of_key, first, second, drawn)
        return drawn
    counter = np.empty((4, len(entities)), np.uint64)
    counter[0], counter[1], counter[2], counter[3] = indices, entities, purpose, replication
    words = philox4x32(counter, key)
    bits = (words[0] << HIGH_20) | (words[1] >> LOW_12)
    values: Floats = uniform_of(bits)
    return values


def bits_of(
    low: np.uint64, high: np.uint64, purpose: np.uint64, replication: np.uint64, index: np.uint64, entity: np.uint64
) -> np.uint64:
    """The 52 bits of one draw, for compiled loops: the same, word by word. The seed is two words, low and high."""
    first, second, third, fourth = index, entity, purpose, replication
    key_low, key_high = low, high
    for _ in range(ROUNDS):
        left, right = first * MULTIPLIERS[0], third * MULTIPLIERS[1]
        first = ((right >> HALF) ^ second ^ key_low) & LOW
        third = ((left >> HALF) ^ fourth ^ key_high) & LOW
        second, fourth = right & LOW, left & LOW
        key_low, key_high = (key_low + WEYL_WORDS[0]) & LOW, (key_high + WEYL_WORDS[1]) & LOW
    return (first << HIGH_20) | (second >> LOW_12)


def uniform_of(bits: Any) -> Any:
    """The draw, or draws, that 52 bits are."""
    return (np.float64(bits) + 0.5) * 2.0**-52


def words_of(seed: int, purpose: int, replication: int) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    """What :func:`bits_of` asks for first."""
    return np.uint64(seed & 0xFFFFFFFF), np.uint64(seed >> 32), np.uint64(purpose), np.uint64(replication)


def _draw(
    low: np.uint64, high: np.uint64, purpose: np.uint64, replication: np.uint64,
    indices: Short, entities: Short, drawn: Floats,
) -> None:
    for place in range(len(drawn)):
        bits = bits_of(low, high, purpose, replication, np.uint64(indices[place]), np.uint64(entities[place]))
        drawn[place] = uniform_of(bits)


DRAW = Loop(_draw, bits_of, uniform_of, inline="always")


def _fits_32_bits(name: str, value: npt.ArrayLike) -> None:
    values = np.asarray(value)
    if values.size == 0:
        return
    if values.dtype.kind not in "iub":
        raise ValueError(f"{name}: whole numbers are needed, not {values.dtype}")
    signed = values.dtype.kind == "i"  # as unsigned ones, those below 0 are the largest
    if int(values.view(f"u{values.itemsize}").max()) >= min(2**32, 2 ** (8 * values.itemsize - signed)):
        lowest, highest = int(values.min()), int(values.max())
        raise ValueError(f"{name} = {lowest if lowest < 0 else highest}: 0 to 2**32 - 1 is needed")
