"""Friend lists along the trace: lists worked out by hand, a telling of them from scratch, and the laws they obey."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsim.rules.ranking import POLICY_NUMBERS, is_listed
from chatsim.scenario import load_scenario
from chatsim.world import build_world, contacts
from chatsim.world.contacts import contact_ranks, friend_lists, listed_friends, private_messages
from chatsim.world.draws import Purpose, uniform
from chatsim.world.tables import PAIR, World, no_contacts
from tests.worlds import ALWAYS, world
from tests.worlds import friend_lists as friendships

POLICIES = tuple(POLICY_NUMBERS)
HALF_LIFE_S = 10.0

# --------------------------------------------------------------------------- by hand

ANN, BOB, CID, DAN, EVE, FAY = range(6)
LUCK = np.array([0.6, 0.2, 0.9, 0.5, 0.8, 0.1])  # of whoever meets Ann, Bob, Cid, Dan, Eve, Fay
ROOMS: list[list[int]] = [[ANN, BOB], [ANN, CID], [ANN, DAN], [ANN, EVE], [ANN, FAY], [ANN, BOB, CID]]
AB, AC, AD, AE, AF, GROUP = range(6)
LOG = [
    (1.0, ANN, AC),  # Cid: an old contact
    (2.0, ANN, AE),  # Eve: a friend without a chat
    (2.0, BOB, GROUP),  # makes nobody a contact
    (3.0, FAY, AF),  # a stranger writes to Ann, who is nobody's friend
    (4.0, BOB, AB),  # spam
    (5.0, ANN, AD),  # Dan: a friend without a chat
    (6.0, ANN, AC),  # after 5 s of silence
    (20.0, ANN, AE),  # after 18 s, in Ann's second session
    (21.0, ANN, AF),  # after 18 s
    (22.0, ANN, AB),
]
SESSIONS = [
    (ANN, -5.0, 8.0), (BOB, -1.0, 30.0), (DAN, -1.0, 4.0), (FAY, 2.5, 30.0), (DAN, 5.0, 30.0), (EVE, 5.5, 20.0), (ANN, 10.0, 30.0),
]
SPAM = 4


def people() -> World:
    """Ann knows Bob (lately) and Cid; her friends are Bob, Dan and Eve. Cid is never online."""
    return world(
        SESSIONS, ROOMS, LOG, 30.0,
        contacts={ANN: [BOB, CID], BOB: [ANN], CID: [ANN]}, friends=[(ANN, BOB), (ANN, DAN), (ANN, EVE)], spam=[SPAM],
    )


@pytest.fixture
def lucky(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contacts, "uniform", lambda seed, replication, purpose, user, contact: LUCK[contact])


# Ann's list just before she writes, contacts first, then | friends without a chat, by luck. In brackets who is offline.
#   recent    1: Bob Cid | Eve Dan      5: Fay Eve Cid Bob | Dan   20: Cid Dan Fay Eve Bob
#             2: Cid Bob | Eve Dan      6: Dan Fay Eve Cid Bob     21: Eve Cid Dan Fay Bob    22: Fay Eve Cid Dan Bob
#   frequent  1: Bob1 Cid1 | Eve Dan    5: Cid2 Fay1 Eve1 Bob1 | Dan                20: Cid3 Dan1 Fay1 Eve1 Bob1
#             2: Cid2 Bob1 | Eve Dan    6: Cid2 Dan1 Fay1 Eve1 Bob1    21: Cid3 Eve2 Dan1 Fay1 Bob1
#                                                                       22: Cid3 Fay2 Eve2 Dan1 Bob1
#   frecency  a chat at t counts 2^(t / 10), one before the run 1: Cid has 1 + 1.07 + 1.52 = 3.59 from 6 s on, Eve 1.15,
#             Fay 1.23, Dan 1.41, Bob 1; at 20 Eve gets 4 and has 5.15; at 21 Fay gets 4.29 and has 5.52
#   random    Cid Eve Dan Bob, with Fay behind Bob from 3 s on
#   online    1: Bob Dan, off Cid Eve   5: Fay Bob Dan, off Eve Cid   20: Dan Fay Eve Bob, off Cid    (Eve ends at 20)
#             2: Bob Dan, off Cid Eve   6: Dan Fay Eve Bob, off Cid   21: Dan Fay Bob, off Eve Cid    22: Fay Dan Bob, ...
# Fay knows nobody when she writes at 3.
LIVE = {
    "recent": [2, 3, 0, 0, 0, 5, 4, 4, 4, 5],
    "all": [2, 3, 0, 0, 0, 5, 4, 4, 4, 5],
    "frequent": [2, 3, 0, 0, 0, 5, 1, 4, 4, 5],
    "frecency": [2, 3, 0, 0, 0, 5, 1, 4, 4, 5],
    "random": [1, 2, 0, 0, 0, 3, 1, 2, 5, 4],
    "online_first": [3, 4, 0, 0, 0, 3, 5, 3, 2, 3],
}
# What Ann loads at 0 counts for her messages at 1, 2, 5 and 6, what she loads at 10 for those at 20, 21 and 22. Fay loads
# a list of nobody.
#   recent    0: Bob Cid | Eve Dan      10: Cid Dan Fay Eve Bob
#   frequent  0: the same               10: Cid3 Dan1 Fay1 Eve1 Bob1
#   frecency  0: the same               10: Cid Dan Fay Eve Bob
#   random    0: Cid Eve Dan Bob        10: Cid Eve Dan Bob Fay
#   online    0: Bob Dan, off Cid Eve   10: Dan Fay Eve Bob, off Cid
LOGIN = {
    "recent": [2, 3, 0, 0, 0, 4, 2, 4, 3, 5],
    "all": [2, 3, 0, 0, 0, 4, 2, 4, 3, 5],
    "frequent": [2, 3, 0, 0, 0, 4, 2, 4, 3, 5],
    "frecency": [2, 3, 0, 0, 0, 4, 2, 4, 3, 5],
    "random": [1, 2, 0, 0, 0, 3, 1, 2, 5, 4],
    "online_first": [3, 4, 0, 0, 0, 2, 3, 3, 2, 4],
}
LOADED = {
    "recent": ([BOB, CID, EVE, DAN], [CID, DAN, FAY, EVE, BOB]),
    "all": ([BOB, CID, EVE, DAN], [CID, DAN, FAY, EVE, BOB]),
    "frequent": ([BOB, CID, EVE, DAN], [CID, DAN, FAY, EVE, BOB]),
    "frecency": ([BOB, CID, EVE, DAN], [CID, DAN, FAY, EVE, BOB]),
    "random": ([CID, EVE, DAN, BOB], [CID, EVE, DAN, BOB, FAY]),
    "online_first": ([BOB, DAN, CID, EVE], [DAN, FAY, EVE, BOB, CID]),
}


@pytest.mark.usefixtures("lucky")
@pytest.mark.parametrize("policy", POLICIES)
def test_ranks_by_hand(policy: str) -> None:
    assert friend_lists(people(), policy, HALF_LIFE_S, "live", 10.0).rank.tolist() == LIVE[policy]
    assert friend_lists(people(), policy, HALF_LIFE_S, "login", 10.0).rank.tolist() == LOGIN[policy]


@pytest.mark.usefixtures("lucky")
@pytest.mark.parametrize("policy", POLICIES)
def test_loaded_lists_by_hand(policy: str) -> None:
    start, users = listed_friends(people(), policy, HALF_LIFE_S)
    lists = [users[first:end].tolist() for first, end in pairwise(start)]
    assert (lists[0], lists[6]) == LOADED[policy]
    assert lists[1:6] == [[ANN]] * 2 + [[]] + [[ANN]] * 2  # Bob, Dan, Fay, Dan again and Eve
    start, users = listed_friends(people(), policy, HALF_LIFE_S, 3)
    assert users[start[6]:start[7]].tolist() == LOADED[policy][1][:3]


def test_openings_conversations_recipients_and_sizes_by_hand() -> None:
    lists = friend_lists(people(), "recent", HALF_LIFE_S, "live", 10.0)
    assert lists.opening.tolist() == [True, True, False, True, False, True, False, True, True, True]
    assert lists.conversation.tolist() == [0, 1, -1, 2, -1, 3, 0, 4, 5, 6]
    assert lists.recipient.tolist() == [CID, EVE, -1, ANN, ANN, DAN, CID, EVE, FAY, BOB]
    assert lists.size.tolist() == [4, 1, 1, 0, 1, 1, 5]  # Fay has become Ann's contact before the second session


def test_a_conversation_is_that_of_the_pair_either_way() -> None:
    talk = [(0.0, 0, 0), (1.0, 2, 1), (2.0, 1, 0), (3.0, 2, 1), (14.0, 1, 0), (15.0, 0, 0)]
    lists = friend_lists(world([(n, *ALWAYS) for n in range(3)], [[0, 1], [1, 2]], talk, 20.0), "recent", 1.0, "live", 10.0)
    assert lists.conversation.tolist() == [0, 1, 0, 1, 2, 2]
    assert lists.opening.tolist() == [True, True, False, False, True, False]


def test_spam_opens_nothing_and_breaks_no_silence() -> None:
    talk = [(0.0, 0, 0), (9.0, 0, 0), (12.0, 1, 0)]
    lists = friend_lists(world([(0, *ALWAYS), (1, *ALWAYS)], [[0, 1]], talk, 20.0, spam=[1]), "recent", 1.0, "live", 10.0)
    assert lists.opening.tolist() == [True, False, True]
    assert lists.rank.tolist() == [0, 0, 1]


def test_a_new_pair_opens_however_long_the_gap() -> None:
    assert friend_lists(people(), "recent", HALF_LIFE_S, "live", math.inf).opening.sum() == 5


def test_a_session_starts_before_the_messages_of_its_instant() -> None:
    talk = [(5.0, 1, 0), (5.0, 0, 0)]
    same = world([(1, -1.0, 9.0), (0, 5.0, 9.0)], [[0, 1]], talk, 10.0)
    assert friend_lists(same, "recent", 1.0, "login", 10.0).rank.tolist() == [0, 0]
    assert friend_lists(same, "recent", 1.0, "live", 10.0).rank.tolist() == [0, 1]
    assert friend_lists(same, "recent", 1.0, "live", 10.0).size.tolist() == [0, 0]


def test_a_message_that_waits_for_a_session_sees_the_list_of_its_own_moment() -> None:
    talk = [(1.0, 0, 0), (5.0, 0, 0), (6.0, 0, 1)]  # Ann is away from 4 to 8
    away = world([(ANN, -1.0, 4.0), (ANN, 8.0, 20.0)], [[0, 1], [0, 2]], talk, 20.0)
    assert away.messages.session.tolist() == [0, 1, 1]
    assert friend_lists(away, "recent", 1.0, "login", 10.0).rank.tolist() == [0, 1, 0]


@pytest.mark.parametrize("kept", ["live", "login"])
@pytest.mark.parametrize("policy", POLICIES)
def test_without_messages_or_sessions_nothing_is_claimed(policy: str, kept: str) -> None:
    nobody = world([(0, *ALWAYS)], [[0, 1]], [], 10.0)
    lists = friend_lists(nobody, policy, 1.0, kept, 10.0)
    assert (len(lists.rank), lists.size.tolist()) == (0, [0])
    start, users = listed_friends(nobody, policy, 1.0, 15)
    assert (start.tolist(), len(users)) == ([0, 0], 0)


# --------------------------------------------------------------------------- told from scratch

USERS = 5
PAIRS = [[first, second] for first in range(USERS) for second in range(first + 1, USERS)]
STEPS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.0, 1.0, 7.0]), st.permutations(range(USERS)), st.sampled_from("pppppgs")), max_size=25
)
SPANS = st.lists(st.tuples(st.integers(0, USERS - 1), st.integers(0, 60), st.integers(1, 30)), max_size=6)
KNOWN = st.dictionaries(st.integers(0, USERS - 1), st.permutations(range(USERS)).map(lambda people: list(people)[:2]))
TIES = st.sets(st.sampled_from([(first, second) for first, second in PAIRS]))


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Five users who chat, some of them only now and then online, with contacts and friends."""
    clock, log, spam = 0.0, [], []
    for wait, order, kind in draw(STEPS):
        clock += wait
        room = len(PAIRS) if kind == "g" else PAIRS.index(sorted(order[:2]))
        spam += [len(log)] if kind == "s" else []
        log.append((clock, order[0], room))
    spans = [(user, float(start), float(start + length)) for user, start, length in draw(SPANS)]
    last = [(user, clock + 1.0, clock + 500.0) for user in range(USERS)]  # so that every message has a session to wait for
    known = {user: [other for other in others if other != user] for user, others in draw(KNOWN).items()}
    sessions = sorted([*spans, *last], key=lambda session: (session[1], session[0]))
    return world(
        sessions, [*PAIRS, list(range(USERS))], log, clock + 1.0, contacts=known, friends=sorted(draw(TIES)), spam=spam
    )


def told(people: World, policy: str, user: int, moment_s: float, before: int) -> list[int]:
    """The list of a user at a moment, when the messages up to number ``before`` have been said, sorted from scratch."""
    table, rooms = people.messages, people.rooms
    chats: dict[int, list[tuple[float, int]]] = {}  # by contact: time, order
    own = people.contacts.contact[people.contacts.start[user]:people.contacts.start[user + 1]].tolist()
    for place, other in enumerate(own):
        chats[other] = [(0.0, -1 - place)]
    for n in range(before):
        members = rooms.member[rooms.start[table.room[n]]:rooms.start[table.room[n] + 1]].tolist()
        if rooms.kind[table.room[n]] == PAIR and not table.spam[n] and user in members:
            chats.setdefault(sum(members) - user, []).append((float(table.time_s[n]), n))
    friends = people.friends.friend[people.friends.start[user]:people.friends.start[user + 1]].tolist()

    def online(other: int) -> bool:
        sessions = people.sessions
        return bool(np.any((sessions.user == other) & (sessions.start_s <= moment_s) & (sessions.end_s >= moment_s)))

    def key(other: int) -> tuple[float, ...]:
        luck = float(uniform(1, 0, Purpose.FRIEND_LIST, user, other))
        said = chats.get(other, [])
        if policy == "random":
            return (-luck,)
        block = float(policy == "online_first" and not online(other))
        if not said:
            return (block, 1.0, -luck)
        weight = float(len(said)) if policy == "frequent" else 0.0
        if policy == "frecency":
            weight = math.fsum(2.0 ** (time_s / 1.7) for time_s, _ in said)
        return (block, 0.0, -weight, -max(order for _, order in said))

    return sorted({*chats, *friends}, key=key)


@given(worlds(), st.sampled_from(POLICIES), st.sampled_from(["live", "login"]))
def test_ranks_and_lists_are_those_told_from_scratch(people: World, policy: str, kept: str) -> None:
    lists = friend_lists(people, policy, 1.7, kept, 5.0)
    start, users = listed_friends(people, policy, 1.7)
    times = people.messages.time_s
    for session, user in enumerate(people.sessions.user.tolist()):
        begins = float(people.sessions.start_s[session])
        expected = told(people, policy, user, begins, int(np.searchsorted(times, begins)))
        assert users[start[session]:start[session + 1]].tolist() == expected
        assert lists.size[session] == len(expected)
    for n in range(len(times)):
        other = int(lists.recipient[n])
        if other < 0 or people.messages.spam[n]:
            assert (lists.rank[n], lists.opening[n], lists.conversation[n]) == (0, False, -1)
            continue
        begins = float(people.sessions.start_s[people.messages.session[n]])
        live = kept == "live" or begins > times[n]
        moment_s, before = (float(times[n]), n) if live else (begins, int(np.searchsorted(times, begins)))
        shown = told(people, policy, int(people.messages.sender[n]), moment_s, before)
        assert lists.rank[n] == (shown.index(other) + 1 if other in shown else 0)


@given(worlds(), st.sampled_from(POLICIES))
def test_empty_lists_give_the_ranks_among_contacts_of_the_trace(people: World, policy: str) -> None:
    empty = replace(people, friends=friendships(people.users, ()), contacts=no_contacts(people.users))
    lists = friend_lists(empty, policy, 1.7, "live", 5.0)
    assert lists.rank[private_messages(people).message].tolist() == contact_ranks(people, policy, 1.7).tolist()


@given(worlds(), st.sampled_from(POLICIES), st.sampled_from(["live", "login"]))
def test_a_longer_list_never_hits_less(people: World, policy: str, kept: str) -> None:
    lists = friend_lists(people, policy, 1.7, kept, 5.0)
    hits = [sum(is_listed(POLICY_NUMBERS[policy], rank, limit) for rank in lists.rank.tolist()) for limit in range(1, USERS)]
    assert hits == sorted(hits)
    assert hits[-1] == (lists.rank > 0).sum()


@given(worlds(), st.sampled_from(POLICIES), st.integers(1, 4))
def test_a_short_list_is_the_beginning_of_a_long_one(people: World, policy: str, limit: int) -> None:
    start, users = listed_friends(people, policy, 1.7)
    short_start, short = listed_friends(people, policy, 1.7, limit)
    for session in range(len(people.sessions)):
        whole = users[start[session]:start[session + 1]].tolist()
        assert short[short_start[session]:short_start[session + 1]].tolist() == whole[:limit]


# --------------------------------------------------------------------------- the behaviour model


@pytest.fixture(scope="module")
def evening() -> World:
    return build_world(load_scenario("go-chat", ["workload.users=2000", "workload.duration_s=7200"]))


def test_friends_and_contacts_of_the_model(evening: World) -> None:
    lists = friend_lists(evening, "recent", 3600.0, "live", 1800.0)
    # Whom people write to are friends, and so are their contacts: the list is as long as there are friends.
    assert lists.size.tolist() == np.diff(evening.friends.start)[evening.sessions.user].tolist()
    assert (lists.rank[private_messages(evening).message] > 0).all()
    assert [len(set(lists.conversation[lists.conversation >= 0].tolist()))] == [lists.opening.sum()]


@pytest.mark.parametrize("policy", POLICIES)
def test_what_is_loaded_and_the_rank_at_login_agree(evening: World, policy: str) -> None:
    lists = friend_lists(evening, policy, 3600.0, "login", 1800.0)
    start, users = listed_friends(evening, policy, 3600.0)
    private = private_messages(evening).message
    session = evening.messages.session[private]
    assert users[start[session] + lists.rank[private] - 1].tolist() == lists.recipient[private].tolist()
    assert np.diff(start).tolist() == lists.size.tolist()


def test_the_ranking_of_the_model_prefers_recent_partners(evening: World) -> None:
    hits = {}
    for policy in POLICIES:
        lists = friend_lists(evening, policy, 3600.0, "live", 1800.0)
        hits[policy] = float((lists.rank[lists.opening] <= 15).mean())
    assert hits["recent"] > hits["random"] + 0.2


