"""The same scenario and seed give the same world, to the last bit, whatever is done to build it faster."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import fields
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
from scipy.special import ndtri

from chatsim.scenario import load_scenario
from chatsim.world import World, build, build_world, compiling, openings, shelf
from chatsim.world.draws import Purpose, uniform
from chatsim.world.orders import grouped, order_in_rows, order_in_time, row_blocks
from chatsim.world.pairs import FIND, edge_keys, pair_keys, places_of_edges, unique_sorted
from chatsim.world.telling import side_by_side
from tests.conftest import ROOT

TABLES = ("friends", "rooms", "sessions", "messages", "contacts", "endings", "intrusions")
FUNCTIONS = "c6009abcd7092a9f"
"""Digest of what logarithms and the like come to here: their last bit is another with another processor or numpy."""


class Made(NamedTuple):
    """A world that was built once: its workload, what is changed in that, and the digest of all tables."""

    workload: str
    changes: str
    digest: str


WORLDS = {
    "small": Made("small", "", "1d7b6167cf06bfd5"),
    "day": Made("day", "users=1000", "7e76578ee613fc1f"),
    "busy": Made("busy", "", "0a62bfbf392972b4"),
    "storm": Made("storm", "", "7112e9087264b892"),
    "college": Made("college", "users=400 duration_s=1500000", "ba54d970478b31ef"),
    "a log": Made("collegemsg", "", "411abd9beebb634a"),
    "as on Facebook": Made("facebook", "users=4000 duration_s=3600", "ffd1b2aa4e2d6e87"),
    "bursts": Made("small", "users=400 duration_s=20000 conversations.burst_sigma=2", "6ecc7a66fc857543"),
    "bursts of those who join": Made("small", "users=400 duration_s=20000 conversations.burst_sigma=2 sessions.join_days=0.1", "da01c2b258f43ad9"),
    "many join": Made("small", "users=400 duration_s=20000 sessions.join_days=0.2 sessions.fade_days=0.5 sessions.per_day=40", "9bc2c70efcbe6dff"),
    "some are active": Made("small", "users=400 duration_s=20000 sessions.activity_sigma=2", "baddc5f8a383ef33"),
    "answers": Made("small", "users=400 duration_s=20000 conversations.answer_weight=8 conversations.length_mean=4", "378a60f641dc9462"),
    "one message each": Made("small", "users=400 duration_s=20000 conversations.length_mean=1", "7f38e956bcae86c7"),
    "nobody is known": Made("small", "users=400 duration_s=20000 conversations.known_partners_mean=0", "2e91729d8a02a531"),
    "everybody is known": Made("small", "users=400 duration_s=20000 conversations.known_partners_mean=500", "dbef289879098e49"),
    "no groups": Made("small", "users=400 duration_s=20000 groups.per_user=0", "09cbb51532102200"),
    "large groups": Made("small", "users=400 duration_s=20000 groups.size_median=150 groups.size_sigma=1", "998f22f12e3a8e9a"),
    "triangles": Made("small", "users=400 duration_s=20000 friends.generator=clustered", "334ac9b2888f9c04"),
    "equal ties": Made("small", "users=400 duration_s=20000 friends.strength_sigma=0", "32f8b05b675ab416"),
    "few friends": Made("small", "users=400 duration_s=20000 friends.degree_median=2 friends.degree_mean=3", "1f52aa2123a9cebc"),
    "two devices": Made("small", "users=400 duration_s=20000 sessions.second_device_share=1 sessions.length_sigma=0", "a9d20fcb335d524e"),
    "sessions overlap": Made("small", "users=400 duration_s=20000 sessions.per_day=300 sessions.length_sigma=2", "e0afef6a8569e0fe"),
    "many sessions": Made("small", "users=3 duration_s=1000000 sessions.per_day=1000 sessions.length_s_median=9 conversations.messages_per_day=2000", "01bcc6a44da9e0e3"),
    "trouble": Made("small", "users=400 duration_s=20000 relations.ends_per_day=20 intruders.share=0.1 spam.share=0.01 reconnect.share=0.5 reconnect.at_s=5000", "637dbac629eef7b9"),
    "nobody": Made("small", "users=1 duration_s=60", "fae8020c2f67d67f"),
}


def digest(world: World) -> str:
    """Of all columns of all tables."""
    found = hashlib.sha256()
    for table in TABLES:
        for field in fields(getattr(world, table)):
            column = getattr(getattr(world, table), field.name)
            found.update(f"{table}.{field.name} {column.dtype} {column.shape}".encode() + column.tobytes())
    return found.hexdigest()[:16]


def functions() -> str:
    """Of logarithms and the like, of a hundred thousand numbers."""
    share = np.arange(1, 100_000) / 100_000
    columns = [np.log(share), np.exp(share), np.cos(share), np.expm1(share), np.log1p(-share), ndtri(share)]
    return hashlib.sha256(np.concatenate(columns).tobytes()).hexdigest()[:16]


def built(made: Made) -> World:
    changes = [f"workload.{change}" for change in made.changes.split()]
    return build_world(load_scenario("go-chat", changes, workload=made.workload), replication=1)


@pytest.fixture(params=["in numpy", "compiled", "in slices"])
def is_compiled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether worlds are built as small ones are, or by compiled loops; as the largest are, it takes many slices too,
    and columns lie in files."""
    is_compiled = request.param != "in numpy"
    for loop in compiling.LOOPS if not is_compiled else []:
        monkeypatch.setattr(loop, "fast", None)
    build_s = 0.0 if is_compiled else float("inf")
    monkeypatch.setattr(compiling, "SMALL_S", build_s)
    monkeypatch.setattr(compiling, "LARGE_S", build_s)
    if request.param == "in slices":
        monkeypatch.setattr(shelf, "LARGE_BYTES", 1)
        monkeypatch.setattr(openings, "USERS_AT_ONCE", 100)
        monkeypatch.setattr(openings, "OPENINGS_AT_ONCE", 50)
        monkeypatch.setattr(build, "MESSAGES_AT_ONCE", 500)
    return is_compiled


@cache
def expected(made: Made) -> str:
    """The digest of a world: with other logarithms than those of the machine that made it, what numpy makes here."""
    if functions() == FUNCTIONS:
        return made.digest
    with pytest.MonkeyPatch.context() as patch:
        for loop in compiling.LOOPS:
            patch.setattr(loop, "fast", None)
        patch.setattr(compiling, "SMALL_S", float("inf"))
        return digest(built(made))


@pytest.mark.parametrize("made", WORLDS.values(), ids=WORLDS)
def test_a_world_stays_what_it_was(made: Made, is_compiled: bool) -> None:
    if not is_compiled and functions() != FUNCTIONS:
        pytest.skip("other logarithms: this is what the others are held to")
    wanted = expected(made)
    assert digest(built(made)) == wanted
    assert is_compiled == any(loop.fast for loop in compiling.LOOPS) or made.workload == "collegemsg"


@pytest.mark.usefixtures("is_compiled")
def test_orders_are_those_of_numpy() -> None:
    """Rows of equal and of nearly equal values, rows without any, and one that is longer than a block."""
    lengths = np.array([0, 3, 70_000, 1, 0, 0, 40_000, 30_000, 5, 0])
    start = np.concatenate([[0], np.cumsum(lengths)])
    drawn = uniform(1, 0, Purpose.LOAD_TEST, 0, np.arange(start[-1]))
    owner = np.repeat(np.arange(len(lengths)), lengths)
    for value in (drawn, drawn.astype(np.float32), np.floor(drawn * 9), 1 + drawn * 1e-9):
        for rows in row_blocks(start):
            part = slice(start[rows.start], start[rows.stop])
            expected = np.lexsort((value[part], owner[part]))
            assert np.array_equal(order_in_rows(start[rows.start:rows.stop + 1] - part.start, value[part]), expected)
    many = np.floor(drawn * 1000).astype(np.int32)
    assert np.array_equal(order_in_time(np.floor(drawn * 99), many), np.lexsort((many, np.floor(drawn * 99))))
    assert np.array_equal(grouped(many, 1001)[1], np.argsort(many, kind="stable"))


@pytest.mark.parametrize("skew", [1, 6])
def test_edges_are_found_wherever_they_are(skew: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the others of a user are spread evenly, and where most are among the first users."""
    draws = np.random.default_rng(skew)
    users = 500
    ends = (users * draws.random((2, 20_000)) ** skew).astype(np.int64)
    edges = unique_sorted(edge_keys(*ends)).copy()
    wanted = edges[draws.integers(0, len(edges), 3000)]
    places = np.searchsorted(edges, wanted)
    found = np.empty(len(wanted), np.int64)
    start = np.searchsorted(edges, pair_keys(np.arange(users + 1), 0))
    monkeypatch.setattr(FIND, "fast", None)
    assert (places_of_edges(edges, wanted, users) == places).all()
    FIND.load()
    assert FIND.fast is not None
    FIND.fast(edges, start, wanted, found)
    assert (found == places).all()


def test_conversations_that_were_told_have_the_rooms_of_their_pairs_and_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    user, peer = np.array([4, 1, 2, 3, 0], np.int32), np.array([1, 4, -1, 5, 2], np.int32)
    is_told = np.array([True, True, True, False, True])
    for load in (False, True):
        for loop in (build.LIST_WRITTEN, build.TAKE_ROOMS):
            monkeypatch.setattr(loop, "fast", None)
            if load:
                loop.load()
        written, room = np.empty(5, np.uint64), np.full(5, 9, np.int32)
        assert build.LIST_WRITTEN(user, peer, is_told, written) == 3
        assert (written[:3] == pair_keys([1, 1, 0], [4, 4, 2])).all()
        build.TAKE_ROOMS(peer, is_told, 2, np.array([1, 1, 0]), room)
        assert room.tolist() == [1, 1, 2, 0, 0]  # pairs, then groups; nothing where nothing was told


def test_what_lies_side_by_side_lies_in_one_line() -> None:
    columns = {"one": np.arange(9, dtype=np.int32), "other": np.linspace(0, 1, 9), "third": np.arange(9)}
    beside = side_by_side(**columns)
    for name, column in columns.items():
        assert (beside[name] == column).all()
    lines = [{beside[name][row:].ctypes.data // 64 for name in columns} for row in range(9)]
    assert all(len(line) == 1 for line in lines)


def test_a_small_world_does_not_load_numba() -> None:
    lines = (
        "import sys; from chatsim.scenario import load_scenario; from chatsim.world import build_world",
        "build_world(load_scenario('go-chat', workload='small')); assert 'numba' not in sys.modules",
    )
    subprocess.run([sys.executable, "-c", "\n".join(lines)], cwd=ROOT, check=True)
