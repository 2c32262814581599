"""Friend lists along the trace: who stands where on whose list, and when a conversation opens. No run is needed.

A user's contacts are those with whom a message was exchanged, before the run (``World.contacts``) or in it, either way.
Only pair rooms count, and spam does not: a message to a group makes nobody a contact. Friends without a chat stand
behind the contacts; how a list is ranked says :mod:`chatsim.rules.ranking`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from chatsim.rules.ranking import (
    FRECENCY,
    NOBODY,
    ONLINE_FIRST,
    POLICY_NUMBERS,
    RANDOM,
    block_of,
    first_score,
    note_chat,
    place_of,
    raised_score,
)
from chatsim.world.draws import Purpose, uniform
from chatsim.world.pairs import Keys, pair_keys, users_of
from chatsim.world.population import owners
from chatsim.world.tables import PAIR, Bools, Contacts, Floats, Friends, Ints, Longs, SessionTable, World, no_contacts

HALF_LIFE_S = 3600.0


@dataclass(frozen=True, slots=True)
class PrivateMessages:
    """The messages of pair rooms but spam, in the order of the trace, each with its number there.

    ``silent_s`` is the time since the pair's last message in the trace, infinite where there was none.
    """

    message: Longs
    time_s: Floats
    sender: Longs
    recipient: Longs
    silent_s: Floats


@dataclass(frozen=True, slots=True)
class FriendLists:
    """What the lists say of each message of the trace, and how long they are for each session.

    - opening: the message opens a conversation: its pair is new in the trace, or was silent for longer than the gap;
    - conversation: the number of the conversation that it belongs to, -1 for messages to groups and for spam;
    - recipient: of a private message (spam as well), else -1;
    - rank: the place of the recipient, from 1, on the sender's list, 0 on none however long; 0 for groups and spam;
    - size: friends and contacts that the user of a session has when it starts.
    """

    opening: Bools
    conversation: Ints
    recipient: Ints
    rank: Ints
    size: Ints


def friend_lists(world: World, policy: str, half_life_s: float, kept: str, opening_gap_s: float) -> FriendLists:
    """The friend lists of a world by a policy, for each message and session of its trace.

    With ``kept`` = "live" a list is that of the moment just before the message, with "login" that of the start of the
    sender's session (at one instant sessions start before messages; a message that waits for a session to start sees
    the list of its own moment). Who is online is said by the trace, both ends of a session included; a session from
    before the run loads its list at 0. With the policy "none" there are no lists: ranks and sizes are 0, and only
    openings and conversations are found.

    >>> from chatsim.scenario import load_scenario
    >>> from chatsim.world import build_world
    >>> world = build_world(load_scenario("go-chat", ["workload.users=200", "workload.duration_s=3600"]))
    >>> lists = friend_lists(world, "recent", 3600.0, "live", 1800.0)
    >>> bool((lists.rank[lists.opening] > 0).any()), len(lists.size) == len(world.sessions)
    (True, True)
    """
    private = private_messages(world)
    opens = _opens(private, opening_gap_s)
    count = len(world.messages)
    opening, rank = np.zeros(count, bool), np.zeros(count, np.int32)
    conversation = np.full(count, -1, np.int32)
    opening[private.message] = opens
    conversation[private.message] = _conversations(private, opens)
    if policy == "none":
        return FriendLists(opening, conversation, recipients(world), rank, np.zeros(len(world.sessions), np.int32))
    rank[private.message] = _ranks(world, POLICY_NUMBERS[policy], half_life_s, private, kept)
    sizes = _sizes(world, private)
    return FriendLists(opening, conversation, recipients(world), rank, sizes)


def listed_friends(world: World, policy: str, half_life_s: float, limit: int | None = None) -> tuple[Longs, Ints]:
    """(start, user): who is on the list of session s when it starts, best first: ``user[start[s]:start[s + 1]]``.

    The first ``limit`` of them, or all; see :func:`friend_lists`.
    """
    private, table = private_messages(world), world.sessions
    lists = _Lists(world, POLICY_NUMBERS[policy], half_life_s, private, _are(table.user, world.users))
    chat = np.searchsorted(private.time_s, table.start_s).tolist()
    moment_s = np.maximum(table.start_s, 0.0).tolist()
    found: list[Ints] = []
    for session, user in enumerate(table.user.tolist()):
        lists.move_on(chat[session], moment_s[session])
        found.append(lists.listed(user, limit))
    start = np.zeros(len(table) + 1, np.int64)
    np.cumsum([len(people) for people in found], out=start[1:])
    return start, np.concatenate([np.empty(0, np.int32), *found])


def private_messages(world: World) -> PrivateMessages:
    """The messages of pair rooms but spam, and how long each pair had been silent."""
    table = world.messages
    rows = np.flatnonzero((world.rooms.kind[table.room] == PAIR) & ~table.spam)
    room = table.room[rows]
    time_s = table.time_s[rows]
    silent_s = np.full(len(rows), math.inf)
    order = np.argsort(room, kind="stable")
    again = np.flatnonzero(room[order][1:] == room[order][:-1]) + 1
    silent_s[order[again]] = time_s[order[again]] - time_s[order[again - 1]]
    return PrivateMessages(
        rows, time_s, table.sender[rows].astype(np.int64), recipients(world)[rows].astype(np.int64), silent_s
    )


def recipients(world: World) -> Ints:
    """The recipient of each message to a pair room, -1 for the others."""
    table, rooms = world.messages, world.rooms
    found = np.full(len(table), -1, np.int32)
    rows = np.flatnonzero(rooms.kind[table.room] == PAIR)
    first = rooms.start[table.room[rows]]
    found[rows] = rooms.member[first] + rooms.member[first + 1] - table.sender[rows]
    return found


def contact_ranks(world: World, policy: str = "recent", half_life_s: float = HALF_LIFE_S) -> Longs:
    """The rank of the recipient among the sender's contacts just before each private message, 0 for a first contact.

    The lists begin empty: neither friends nor whom people knew before the trace are on them.
    """
    nobody = Friends(np.zeros(world.users + 1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32))
    strangers = replace(world, friends=nobody, contacts=no_contacts(world.users))
    return _ranks(strangers, POLICY_NUMBERS[policy], half_life_s, private_messages(world), "live")


def _opens(private: PrivateMessages, opening_gap_s: float) -> Bools:
    opens: Bools = (private.silent_s > opening_gap_s) | np.isinf(private.silent_s)
    return opens


def _conversations(private: PrivateMessages, opens: Bools) -> Longs:
    """The conversation of each private message: the latest one that its pair has opened, numbered as they open."""
    low, high = np.minimum(private.sender, private.recipient), np.maximum(private.sender, private.recipient)
    order = np.lexsort((np.arange(len(low)), high, low))
    number = np.cumsum(opens) - 1
    opener = np.maximum.accumulate(np.where(opens[order], np.arange(len(order)), 0))
    conversation = np.empty(len(order), np.int64)
    conversation[order] = number[order[opener]]
    return conversation


def _ranks(world: World, policy: int, half_life_s: float, private: PrivateMessages, kept: str) -> Longs:
    """The rank of the recipient on the sender's list at each private message."""
    lists = _Lists(world, policy, half_life_s, private, _are(private.sender, world.users))
    chat, moment_s = _looks(world, private, kept)
    chats, moments = chat.tolist(), moment_s.tolist()
    senders, recipients = private.sender.tolist(), private.recipient.tolist()
    rank = np.empty(len(chats), np.int64)
    for look in np.lexsort((chat, moment_s)).tolist():
        lists.move_on(chats[look], moments[look])
        rank[look] = lists.rank(senders[look], recipients[look])
    return rank


def _looks(world: World, private: PrivateMessages, kept: str) -> tuple[Longs, Floats]:
    """How many chats the list that each private message goes by has seen, and the moment that it is of."""
    own = np.arange(len(private.message))
    if kept == "live":
        return own, private.time_s
    start_s = world.sessions.start_s[world.messages.session[private.message]]
    waits = start_s > private.time_s
    chat = np.where(waits, own, np.searchsorted(private.time_s, start_s))
    return chat, np.where(waits, private.time_s, np.maximum(start_s, 0.0))


class _Lists:
    """The lists of those ``looked_at`` as they stand at one moment of the trace, which moves on from chat to chat."""

    def __init__(
        self, world: World, policy: int, half_life_s: float, private: PrivateMessages, looked_at: Bools
    ) -> None:
        self.policy = policy
        self.next = 0
        self.senders, self.recipients = private.sender.tolist(), private.recipient.tolist()
        self.half_lives = (private.time_s / half_life_s if policy == FRECENCY else private.time_s).tolist()
        self.out_draws, self.in_draws = _draws_both_ways(world, policy, private)
        start, known = _places(world.contacts, private, world.users)
        contacts, scores = np.full(start[-1], NOBODY, np.int32), np.zeros(start[-1])
        contacts[known], scores[known] = _ranked_contacts(world, policy)
        self.start: list[int] = start.tolist()
        self.count: list[int] = np.diff(world.contacts.start).tolist()
        self.contacts: list[int] = contacts.tolist()
        self.scores: list[float] = scores.tolist()
        self.friends = _friends_without_chat(world, looked_at)
        self.online = _Online(world.sessions, world.users) if policy == ONLINE_FIRST else None

    def move_on(self, chat: int, time_s: float) -> None:
        """Lets everything happen before a chat, and all sessions start and end before or at a time."""
        for n in range(self.next, chat):
            sender, recipient = self.senders[n], self.recipients[n]
            self._note(sender, recipient, self.half_lives[n], self.out_draws[n])
            self._note(recipient, sender, self.half_lives[n], self.in_draws[n])
        self.next = max(self.next, chat)
        if self.online is not None:
            self.online.move_on(time_s)

    def rank(self, user: int, other: int) -> int:
        """The place of another on the list of a user, from 1; 0 where it is not there."""
        place = place_of(other, self.contacts, self.start[user])
        mixed = self.policy == ONLINE_FIRST or (self.policy == RANDOM and self.friends.has_any(user))
        if self.contacts[place] == other and not mixed:
            return place - self.start[user] + 1
        found = np.flatnonzero(self.listed(user, None) == other)
        return int(found[0]) + 1 if len(found) else 0

    def listed(self, user: int, limit: int | None) -> Ints:
        """The first ``limit`` people on the list of a user."""
        first, count = self.start[user], self.count[user]
        contacts = np.array(self.contacts[first:first + count], np.int32)
        if limit is not None and limit <= count and self.policy not in (RANDOM, ONLINE_FIRST):
            return contacts[:limit]
        friends, draws = self.friends.of(user)
        people = np.concatenate([contacts, friends])
        if self.policy == RANDOM:
            people = people[np.argsort(-np.concatenate([self.scores[first:first + count], draws]), kind="stable")]
        elif self.online is not None:
            people = people[np.argsort(_blocks(self.online.are(people), count), kind="stable")]
        return people[:limit]

    def _note(self, user: int, other: int, half_lives: float, draw: float) -> None:
        if not note_chat(self.policy, other, half_lives, draw, self.contacts, self.scores, self.start[user]):
            self.count[user] += 1
            self.friends.remove(user, other)


class _FriendsWithoutChat:
    """Friends without a chat, in the order of luck; whoever chats is taken out. ``draw`` runs beside ``friend``."""

    def __init__(self, start: Longs, friend: Ints, draw: Floats) -> None:
        self.start: list[int] = start.tolist()
        self.friend, self.draw = friend, draw

    def has_any(self, user: int) -> bool:
        """Whether a user has had any when the run started."""
        return self.start[user + 1] > self.start[user]

    def of(self, user: int) -> tuple[Ints, Floats]:
        """Those of a user, and their draws."""
        part = slice(self.start[user], self.start[user + 1])
        friends = self.friend[part]
        left = friends != NOBODY
        return friends[left], self.draw[part][left]

    def remove(self, user: int, friend: int) -> None:
        """Takes a friend out, if it is one."""
        if self.has_any(user):
            friends = self.friend[self.start[user]:self.start[user + 1]]
            friends[friends == friend] = NOBODY


class _Online:
    """How many sessions each user has at one moment of the trace, which moves on."""

    def __init__(self, sessions: SessionTable, users: int) -> None:
        ended = np.argsort(sessions.end_s, kind="stable")
        self.starts, self.starters = sessions.start_s.tolist(), sessions.user.tolist()
        self.ends, self.enders = sessions.end_s[ended].tolist(), sessions.user[ended].tolist()
        self.started = self.ended = 0
        self.sessions = np.zeros(users, np.int32)

    def move_on(self, time_s: float) -> None:
        """Starts sessions up to and at a time, and ends those before it."""
        while self.started < len(self.starts) and self.starts[self.started] <= time_s:
            self.sessions[self.starters[self.started]] += 1
            self.started += 1
        while self.ended < len(self.ends) and self.ends[self.ended] < time_s:
            self.sessions[self.enders[self.ended]] -= 1
            self.ended += 1

    def are(self, people: Ints) -> Bools:
        """Who of these is online."""
        online: Bools = self.sessions[people] > 0
        return online


def _blocks(online: Bools, contacts: int) -> Ints:
    """The block of each of an online-first list's people, of whom the first ones are the contacts."""
    no_yes = (False, True)
    numbers = np.array([[block_of(ONLINE_FIRST, known, on) for on in no_yes] for known in no_yes], np.int32)
    return numbers[(np.arange(len(online)) < contacts).astype(np.intp), online.astype(np.intp)]


def _draws_both_ways(world: World, policy: int, private: PrivateMessages) -> tuple[list[float], list[float]]:
    """The luck of the sender with the recipient, and the other way round; zeros where no policy asks for it."""
    if policy != RANDOM:
        nothing = [0.0] * len(private.sender)
        return nothing, nothing
    return (
        _draws(world, private.sender, private.recipient).tolist(),
        _draws(world, private.recipient, private.sender).tolist(),
    )


def _draws(world: World, user: Longs | Ints, other: Longs | Ints) -> Floats:
    return uniform(world.seed, world.replication, Purpose.FRIEND_LIST, user, other)


def _ranked_contacts(world: World, policy: int) -> tuple[Ints, Floats]:
    """The contacts of before the run by rank, and their scores: each has chatted once at 0, the latest first."""
    contacts = world.contacts
    user = owners(contacts.start)
    if policy == RANDOM:
        draws = _draws(world, user, contacts.contact)
        order = np.lexsort((-draws, user))
        return contacts.contact[order], draws[order]
    return contacts.contact, np.full(len(user), raised_score(policy, first_score(policy, 0.0), 0.0))


def _places(contacts: Contacts, private: PrivateMessages, users: int) -> tuple[Longs, Longs]:
    """Where each user's contacts begin, with a place for every one that the trace brings and one more; and the places
    of the contacts of before the run."""
    low, high = np.minimum(private.sender, private.recipient), np.maximum(private.sender, private.recipient)
    pairs = np.unique(low * users + high)
    partners = np.bincount(pairs // users, minlength=users) + np.bincount(pairs % users, minlength=users)
    start = np.zeros(users + 1, np.int64)
    np.cumsum(np.diff(contacts.start) + partners + 1, out=start[1:])
    user = owners(contacts.start)
    return start, start[user] + np.arange(len(user)) - contacts.start[user]


def _friends_without_chat(world: World, looked_at: Bools) -> _FriendsWithoutChat:
    """The friends of those looked at who are no contacts before the run."""
    friends, contacts = world.friends, world.contacts
    entry = np.flatnonzero(np.repeat(looked_at, np.diff(friends.start)))
    user, friend = owners(friends.start)[entry], friends.friend[entry]
    known = looked_at[owners(contacts.start)]
    without = ~_among(
        np.sort(pair_keys(owners(contacts.start)[known], contacts.contact[known])), pair_keys(user, friend)
    )
    user, friend = user[without], friend[without]
    draw = _draws(world, user, friend)
    order = np.lexsort((-draw, user))
    start = np.searchsorted(user, np.arange(world.users + 1)).astype(np.int64)
    return _FriendsWithoutChat(start, friend[order], draw[order])


def _sizes(world: World, private: PrivateMessages) -> Ints:
    """How many friends and contacts the user of each session has when it starts."""
    friends, contacts = world.friends, world.contacts
    friend_keys = pair_keys(owners(friends.start), friends.friend)
    contact_keys = np.sort(pair_keys(owners(contacts.start), contacts.contact))
    strangers = ~_among(friend_keys, contact_keys)
    standing = np.diff(friends.start) + np.bincount(users_of(contact_keys[strangers])[0], minlength=world.users)
    user = np.stack([private.sender, private.recipient], axis=1).ravel()
    other = np.stack([private.recipient, private.sender], axis=1).ravel()
    met, first = np.unique(pair_keys(user, other), return_index=True)
    new = ~(_among(friend_keys, met) | _among(contact_keys, met))
    sessions = world.sessions
    sizes = standing[sessions.user] + _met_before(
        user[first[new]], np.repeat(private.time_s, 2)[first[new]], sessions.user, sessions.start_s
    )
    return sizes.astype(np.int32)


def _met_before(user: Longs, met_s: Floats, asked: Ints, time_s: Floats) -> Longs:
    """How many of the meetings of each ``asked`` user, at ``met_s``, lie before ``time_s``."""
    is_meeting = np.repeat([False, True], [len(asked), len(user)])
    everybody = np.concatenate([asked, user])
    order = np.lexsort((is_meeting, np.concatenate([time_s, met_s]), everybody))
    so_far = np.empty(len(order), np.int64)
    so_far[order] = np.cumsum(is_meeting[order])
    of_lower_users = np.searchsorted(np.sort(user), asked)
    return so_far[: len(asked)] - of_lower_users


def _among(keys: Keys, wanted: Keys) -> Bools:
    """Which of the ``wanted`` are among ``keys``, ascending."""
    if not len(keys):
        return np.zeros(len(wanted), bool)
    found: Bools = keys[np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)] == wanted
    return found


def _are(user: Longs | Ints, users: int) -> Bools:
    """Which of all users occur."""
    are = np.zeros(users, bool)
    are[user] = True
    return are
