"""The counter-based generator: published known answers, and that draws are what they claim to be."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from chatsim.world.draws import BLOCK, Purpose, exponential, lognormal, normal, philox4x32, uniform

ONES = 0xFFFFFFFF
FALSE_ALARM = 1e-6


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        ([0] * 4, (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ([ONES] * 4, (ONES, ONES), "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ([0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], (0xA4093822, 0x299F31D0),
         "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_philox_known_answers_of_random123(counter: list[int], key: tuple[int, int], answer: str) -> None:
    assert " ".join(f"{word:08x}" for word in philox4x32(counter, key)) == answer


def test_the_key_of_a_draw_is_laid_out_as_documented() -> None:
    seed = 0xA4093822 | 0x299F31D0 << 32
    words = philox4x32([0x243F6A88, 0x85A308D3, Purpose.SERVICE, 6], (0xA4093822, 0x299F31D0))
    bits = int(words[0]) << 20 | int(words[1]) >> 12
    assert float(uniform(seed, 6, Purpose.SERVICE, 0x85A308D3, 0x243F6A88)) == (2 * bits + 1) / 2**53


def test_a_draw_does_not_depend_on_what_else_is_drawn() -> None:
    entity, index = np.arange(300)[:, None], np.arange(2 * BLOCK // 300 + 7)
    table = uniform(3, 1, Purpose.DEGREE, entity, index)
    assert table.shape == (300, len(index))
    for row, column in ((0, 0), (17, 3), (299, len(index) - 1)):
        assert table[row, column] == uniform(3, 1, Purpose.DEGREE, row, column)
    assert np.array_equal(table.T, uniform(3, 1, Purpose.DEGREE, entity.T, index[:, None]))
    assert uniform(3, 1, Purpose.DEGREE, np.empty(0, int), 0).shape == (0,)


def test_every_part_of_the_key_changes_the_draw() -> None:
    base = (5, 0, int(Purpose.DEGREE), 1, 2)
    draws = {float(uniform(*base))}
    for place in range(5):
        draws.add(float(uniform(*(part + (step == place) for step, part in enumerate(base)))))
    draws.add(float(uniform(5 + 2**32, *base[1:])))
    assert len(draws) == 7


def test_draws_are_uniform_and_open() -> None:
    drawn = uniform(11, 0, Purpose.DEGREE, np.arange(1000)[:, None], np.arange(1000)).ravel()
    counts = np.bincount((drawn * 1000).astype(int), minlength=1000)
    assert stats.chisquare(counts).pvalue > FALSE_ALARM
    assert drawn.min() > 0
    assert drawn.max() < 1
    # The lowest bits of the 53 are as even as the highest.
    low = np.ldexp(drawn, 53).astype(np.uint64) >> np.uint64(1) & np.uint64(255)
    assert stats.chisquare(np.bincount(low.astype(int), minlength=256)).pvalue > FALSE_ALARM


@pytest.mark.parametrize("shift", [(1, 0), (0, 1)])
def test_neighbours_are_independent(shift: tuple[int, int]) -> None:
    entity, index = np.arange(500)[:, None], np.arange(500)
    one = uniform(11, 0, Purpose.DEGREE, entity, index)
    other = uniform(11, 0, Purpose.DEGREE, entity + shift[0], index + shift[1])
    table = np.histogram2d(one.ravel(), other.ravel(), bins=20, range=[[0, 1], [0, 1]])[0]
    assert stats.chi2_contingency(table).pvalue > FALSE_ALARM
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 5 / 500


@pytest.mark.parametrize(
    ("drawn", "law"),
    [
        (normal(2, 0, 1, np.arange(50_000), 0), stats.norm()),
        (exponential(2, 0, 2, np.arange(50_000), 0), stats.expon()),
        (lognormal(2, 0, 3, np.arange(50_000), 0, 300.0, 1.2), stats.lognorm(1.2, scale=300.0)),
    ],
    ids=["normal", "exponential", "lognormal"],
)
def test_distributions(drawn: np.ndarray, law: stats.rv_frozen) -> None:
    assert stats.kstest(drawn, law.cdf).pvalue > FALSE_ALARM


@pytest.mark.parametrize(
    ("key", "named"),
    [
        ((-1, 0, 1, 0, 0), "seed = -1"), ((2**64, 0, 1, 0, 0), "seed = 18446744073709551616"),
        ((1, 2**32, 1, 0, 0), "replication = 4294967296"), ((1, 0, 1, -1, 0), "entity = -1"),
        ((1, 0, 1, 2**32, 0), "entity = 4294967296"), ((1, 0, 1, 0, [0, 2**32]), "index = 4294967296"),
        ((1, 0, 1, 0.5, 0), "entity: whole numbers"),
    ],
)
def test_a_key_that_does_not_fit_is_refused(key: tuple, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        uniform(*key)


def test_purposes_keep_their_numbers() -> None:
    assert len({int(purpose) for purpose in Purpose}) == len(Purpose)
    assert (Purpose.DEGREE, Purpose.SESSION_GAP, Purpose.OPENING_GAP, Purpose.LOAD_TEST) == (1, 20, 30, 39)
