"""What handlers say means the same compiled as in Python; what the translator does not know, it refuses."""

from __future__ import annotations

import ctypes
import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from scipy import special

from chatsim.engine.compiled.code import compiled, is_interpreted
from chatsim.engine.compiled.elementwise import exp, loop_of, ndtri
from chatsim.engine.compiled.machine import machine_code, named
from chatsim.engine.compiled.memory import Memory, grown
from chatsim.engine.compiled.state import TABLES, TWO_DIMENSIONS, State
from chatsim.engine.compiled.translating import Translation
from chatsim.engine.compiled.values import NotSaidError
from chatsim.rules.hashing import spread
from chatsim.world.draws import Purpose, uniform
from tests.conftest import ROOT

if is_interpreted():
    pytest.skip("nothing is compiled", allow_module_level=True)

LONGS = some.integers(-(10**9), 10**9)
STEPS = (3, 1, 4, 1, 5)


def fast(handler: Callable[..., Any], checks: bool = False) -> Callable[..., Any]:
    """A handler of a state and numbers, compiled alone."""
    kinds = {"int": ctypes.c_int64, "float": ctypes.c_double, "bool": ctypes.c_bool, "State": ctypes.c_void_p}
    given = [kinds[kind] for name, kind in handler.__annotations__.items() if name != "return"]
    code = machine_code(Translation(checks).text(handler))
    name = f"{handler.__module__.rpartition('.')[2]}.{handler.__name__}"
    return named(code, name, kinds[handler.__annotations__["return"]], *given)


@compiled
def divided(st: State, number: int, by: int) -> int:
    """Divides, and takes rests, also of powers of two."""
    return (number // by) * 7 + number % by + 1000 * (number // 8) + number % 16


@compiled
def looped(st: State, number: int, other: int) -> int:
    """Loops of all kinds, with breaks and conditions."""
    count = 0
    for step in range(number % 50, -5, -3):
        if step % 7 == 3 or (step == other % 50 and not step % 2):
            continue
        count += step
        if count > 100:
            break
    while count > 10 and count not in (20, 21):
        count -= 4 if count % 2 else 1
    for add in (1, 2, other % 3):
        if count == 5:
            break
        count += add * STEPS[count % 5]
    first, second = pair(st, count, other)
    return first - second if 0 <= count < 1000 else -count


@compiled
def pair(st: State, one: int, other: int) -> tuple[int, int]:
    """Gives two numbers, the larger one first."""
    if one < other:
        return other, one
    return one, other


@compiled
def mixed(st: State, one: float, number: int) -> float:
    """Real numbers, whole ones, and truths."""
    is_small = one < number
    least = min(one, float(number), 3.5)
    if math.isnan(one) or math.isinf(one):
        least = -1.0
    return least + is_small + 2.0 ** (number % 60) / max(1, number % 13) + int(is_small)


@compiled
def powers(st: State, one: float, number: int) -> float:
    """What is left to the mathematical library, and how often one number is in another."""
    whole = math.floor(one) + math.ceil(one / 3.0)
    return math.log(1.0 + abs_of(st, one)) + whole + one // 60.0 + 2.0**number


@compiled
def lognormal(st: State, share: float, sigma: float) -> float:
    """What numpy and scipy make of one number."""
    return exp(sigma * ndtri(share))


@compiled
def abs_of(st: State, one: float) -> float:
    """One's size."""
    return -one if one < 0.0 else one


@compiled
def hashed(st: State, number: int) -> int:
    """A decision of the rules, and numbers without signs."""
    bits = np.uint64(number)
    for _ in range(5):
        bits = (bits * np.uint64(0xD2511F53)) ^ (bits >> np.uint64(32))
    return spread(number) ^ int(bits >> np.uint64(1))


@given(LONGS, LONGS)
def test_whole_numbers(number: int, other: int) -> None:
    for handler in (divided, looped):
        if handler is looped or other:
            assert WHOLE[handler](None, number, other) == handler(None, number, other)


@given(some.floats(-1e6, 1e6), some.integers(-60, 60))
def test_real_numbers(one: float, number: int) -> None:
    assert MIXED(None, one, number) == mixed(None, one, number)
    assert POWERS(None, one, number) == powers(None, one, number)


def test_numpy_and_scipy_make_of_one_number_what_they_make_of_many() -> None:
    handler, shares = fast(lognormal), uniform(1, 0, Purpose.DOWNLINK, np.arange(20_000), 0)
    for sigma in (0.3, 3.0, 40.0):
        many = np.exp(sigma * special.ndtri(shares))
        assert [handler(None, share, sigma) for share in shares.tolist()] == many.tolist()
        assert lognormal(None, shares[7], sigma) == many[7]


def test_what_is_no_function_of_one_number_has_no_loop() -> None:
    with pytest.raises(TypeError, match="add is no function of one number"):
        loop_of(np.add)


@pytest.mark.parametrize("one", [math.nan, math.inf, -math.inf, 0.0, -0.0])
def test_what_is_no_number(one: float) -> None:
    assert MIXED(None, one, 3) == mixed(None, one, 3)


@given(some.integers(0, 2**63 - 1))
def test_numbers_without_signs(number: int) -> None:
    with np.errstate(over="ignore"):
        assert HASHED(None, number) == hashed(None, number)


@compiled
def changes_kind(st: State, number: int) -> int:
    """A name that stands for a whole number becomes a real one."""
    kept = number
    if number > 3:
        kept = 0.5  # type: ignore[assignment]
    return kept


@compiled
def says_text(st: State, number: int) -> int:
    """Text is nothing that handlers know."""
    return len(f"{number}")


def unmarked(st: State, number: int) -> int:
    """No handler."""
    return number


@compiled
def calls_unmarked(st: State, number: int) -> int:
    """Calls what is no handler."""
    return unmarked(st, number)


@pytest.mark.parametrize("handler", [changes_kind, says_text, calls_unmarked])
def test_what_is_not_known_is_refused_with_its_place(handler: Callable[..., Any]) -> None:
    with pytest.raises(NotSaidError, match=rf"test_translating\.{handler.__name__}, line \d+"):
        Translation(checks=False).text(handler)


@compiled
def reads(st: State, row: int) -> int:
    """Reads a row, which may not be there, and lets its table grow."""
    found = st.member[row]
    st.links = grown(st.links)
    st.links[len(st.links) - 1].one = found
    return int(st.links[len(st.links) - 1].one + len(st.links))


def empty_state() -> Memory:
    """A state with one row of zeros in each table."""
    return Memory(
        {name: np.zeros((1, 1) if name in TWO_DIMENSIONS else 1, dtype) for name, dtype in TABLES.items()}
    )


def test_what_a_handler_writes_to_a_table_that_has_grown_stands_in_the_state() -> None:
    st = empty_state()
    st.tables()["member"][0] = 5
    handler = fast(reads, checks=True)
    assert [handler(st.address, 0) for _ in range(3)] == [7, 9, 13]
    assert st.tables()["links"]["one"][[1, 3, 7]].tolist() == [5, 5, 5]


def test_with_checks_a_row_that_is_not_there_ends_the_process_and_is_named() -> None:
    lines = "from tests.test_translating import *; fast(reads, checks=True)(empty_state().address, 7)"
    process = subprocess.run([sys.executable, "-c", lines], cwd=ROOT, capture_output=True, text=True, check=False)
    assert process.returncode != 0
    assert "chatsim: row 7 of a table of 1, in line " in process.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited so on Linux alone")
def test_a_table_for_which_there_is_no_memory_ends_the_process_in_one_line() -> None:
    lines = (
        "from tests.test_translating import *; import resource; handler, st = fast(reads, checks=True), empty_state(); "
        "size = 4096 * int(open('/proc/self/statm').read().split()[0]); "
        "resource.setrlimit(resource.RLIMIT_AS, (size + 200_000_000,) * 2); [handler(st.address, 0) for _ in range(40)]"
    )
    process = subprocess.run([sys.executable, "-c", lines], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (process.returncode, process.stderr.count("\n")) == (2, 1)
    assert process.stderr.startswith("chatsim: out of memory for a table of ")


WHOLE = {handler: fast(handler) for handler in (divided, looped)}
MIXED, POWERS, HASHED = fast(mixed), fast(powers), fast(hashed)
