"""The behaviour model: who opens a conversation, with whom, and how it goes on. It yields the messages of the trace.

What happens to one user is drawn up front, in arrays; one loop in the order of time then tells who knows whom when
(:mod:`chatsim.world.telling`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from chatsim.scenario.models import Conversations, Workload
from chatsim.world.draws import BLOCK, Purpose, lognormal
from chatsim.world.openings import Scheduled, lead_of
from chatsim.world.orders import blocks, grouped, next_places
from chatsim.world.partners import Partners
from chatsim.world.population import owners
from chatsim.world.sessions import DAY_S, Connected, activity_levels, joined_s, length_s_mean, rate_at
from chatsim.world.shelf import column, put_back, write
from chatsim.world.tables import Floats, Ints, Longs, SessionTable
from chatsim.world.telling import (
    RANKS_MAX,
    Openings,
    People,
    Talk,
    Teller,
    Ties,
    Told,
    guide_of,
    recency_weights,
    side_by_side,
)

ACTIVITIES = 200


@dataclass(frozen=True, slots=True)
class Spoken:
    """Messages in the order of time, each with its conversation and its row among the sessions. A conversation is of
    ``user`` and ``peer``: two users, or -1 - group."""

    time_s: Floats
    sender: Ints
    session: Ints
    conversation: Ints
    user: Ints
    peer: Ints


def converse(
    workload: Workload, sessions: SessionTable, partners: Partners, groups: tuple[Longs, Ints],
    seed: int, replication: int,
) -> Spoken:
    """The messages of a run, in order of time, each written while its sender has a session on device 0.

    Conversations that began before 0 and go on are told from a lead time on. A user's openings are a Poisson process
    over its time connected (with ``burst_sigma`` a bursty one), at the rate that gives ``messages_per_day`` in the long
    run where interest does not fade (see :func:`opening_rate_per_s`). An opening goes to a group with ``group_share``,
    else to a friend never written to, who has joined, with chance ``p / (1 + partners / scale)``, else to the partner
    of recency rank k with weight k ** -exponent, times ``answer_weight`` where its last message waits for an answer.
    Modifies the partners, who come to be as they are at the end.
    """
    talk = workload.conversations
    rate_per_s = opening_rate_per_s(workload, groups)
    connected = Connected(sessions, workload.users, (-lead_of(talk), workload.duration_s))
    openings = Scheduled(workload, connected, rate_per_s, seed, replication)
    joined = joined_s(workload, seed, replication)
    people, ties = people_and_ties(sessions, connected, groups, joined, ties_of(talk, partners))
    rows = connected.row.astype(np.int32)
    del connected
    asked = Talk(talk.new_partner_share, talk.new_partner_scale, talk.answer_weight)
    teller = Teller(asked, people, ties)
    most, count = openings.messages_most, 0
    spoken = Spoken(
        column(most, float), column(most, np.int32), column(most, np.int32), column(most, np.int32),
        column(len(openings), np.int32), column(len(openings), np.int32),
    )
    for talks, steps, until_s in openings.slices():
        told = teller.tell(talks, steps, until_s)
        told.session[:] = rows[told.session]
        count = _append(spoken, count, told, talks)
    return replace(
        spoken, time_s=spoken.time_s[:count], sender=spoken.sender[:count], session=spoken.session[:count],
        conversation=spoken.conversation[:count],
    )


def _append(spoken: Spoken, count: int, told: Told, talks: Openings) -> int:
    """Writes what was told, and between whom conversations are, in their places; how many messages there are then."""
    messages = slice(count, count + len(told.time_s))
    opened = slice(talks.number[0], talks.number[-1] + 1) if len(talks.number) else slice(0)
    for name, part, values in (
        ("time_s", messages, told.time_s), ("sender", messages, told.sender), ("session", messages, told.session),
        ("conversation", messages, told.conversation), ("user", opened, talks.user), ("peer", opened, talks.peer),
    ):
        write(getattr(spoken, name)[part], values)
    return messages.stop


def people_and_ties(
    sessions: SessionTable, connected: Connected, groups: tuple[Longs, Ints], joined: Floats, ties: Ties
) -> tuple[People, Ties]:
    """Who is connected when, who is in which group, when each user has ``joined``, and whom each knows: all of a user
    side by side."""
    rows = connected.row
    start, member = groups
    own_start, entry = grouped(member, len(joined))
    session_s = np.empty(2 * len(rows))
    session_s[::2], session_s[1::2] = sessions.start_s[rows], sessions.end_s[rows]
    to_come, own_group = connected.first.astype(np.int32), own_start.astype(np.int32)
    never_s = np.broadcast_to(-np.inf, len(joined))
    of_user = side_by_side(
        first=ties.first, others=ties.others, end=ties.end, to_come=to_come[:-1], to_come_end=to_come[1:],
        away_s=never_s, leaves_s=never_s, joined_s=joined, own_group_start=own_group[:-1], own_group_end=own_group[1:],
    )
    people = People(
        session_s=session_s, member_start=start, member=member, own_group=owners(start)[entry],
        **{name: column for name, column in of_user.items() if name in People._fields},
    )
    return people, ties._replace(**{name: column for name, column in of_user.items() if name in Ties._fields})


def ties_of(talk: Conversations, partners: Partners) -> Ties:
    """Whom users know at first."""
    start, friend, known = partners.queue_start, partners.queue, np.diff(partners.known_start)
    owes = np.zeros(len(friend) if talk.answer_weight != 1 else 0, np.int8)
    upto = recency_weights(talk.recency_exponent)
    return Ties(
        start[:-1], start[:-1] + known, start[1:], friend, owes, np.zeros(len(known), np.int64), upto, guide_of(upto),
        np.zeros(RANKS_MAX + 1),
    )


def message_sizes(
    workload: Workload, sender: Ints, seed: int, replication: int, purpose: Purpose = Purpose.MESSAGE_SIZE
) -> Ints:
    """Sizes in bytes, log-normal, at least 1; keyed by the sender and the number of its message."""
    sizes, number = column(len(sender), np.int32), np.zeros(int(sender.max(initial=-1)) + 1, np.int64)
    for part in blocks(len(sender), BLOCK):
        drawn = lognormal(
            seed, replication, purpose, sender[part], next_places(sender[part], number),
            workload.message_bytes_median, workload.message_bytes_sigma,
        )
        np.clip(drawn, 1, 2**31 - 1, out=drawn)
        write(sizes[part], np.rint(drawn, out=drawn))
        put_back(sender[part])
    return sizes


def opening_rate_per_s(workload: Workload, groups: tuple[Longs, Ints]) -> float:
    """Openings per second of connected time: messages_per_day / realised length / seconds connected per day."""
    connected = _connected_share(workload)
    length = realised_length_mean(workload, groups)
    return workload.conversations.messages_per_day / length / (DAY_S * float(connected.mean()))


def realised_length_mean(workload: Workload, groups: tuple[Longs, Ints]) -> float:
    """Messages per conversation, given that one ends where the next sender has no session.

    A message is followed by another with chance q = 1 - 1 / length_mean, which comes from the other side with chance r.
    The same sender is still connected with chance s = E[(L - d)+] / E[L] (L a session's length, d a reply's delay, the
    opening a uniform point of its session). The other side is connected with chance g before it has been heard of, and
    h after that: in pairs g = c (the share of users connected, weighted by itself) and h = s, in groups of n members
    g = 1 - (1 - c)**(n - 1) and h = 1 - (1 - g) (1 - s). The mean is (1 + q r g b) / (1 - q (1 - r) s), where
    b = 1 / (1 - q ((1 - r) s + r h)) messages follow from the first reply on.

    Sessions of different users and of successive delays are taken as independent: within 15 % of the simulated mean.
    """
    talk = workload.conversations
    connected = _connected_share(workload)
    other_on = float((connected**2).mean() / connected.mean())
    same_on = _still_connected_share(workload)
    pair = _length_mean(talk, same_on, np.array([other_on]), np.array([same_on]))[0]
    start, member = groups
    if not len(member):
        return float(pair)
    any_on = 1 - (1 - other_on) ** (np.diff(start) - 1)
    lengths = _length_mean(talk, same_on, any_on, 1 - (1 - any_on) * (1 - same_on))
    groups_of_user = np.bincount(member, minlength=workload.users)
    in_groups = talk.group_share * float((groups_of_user > 0).mean())
    openings = np.add.reduceat(1 / groups_of_user[member], start[:-1])
    return float((1 - in_groups) * pair + in_groups * np.average(lengths, weights=openings))


def _length_mean(talk: Conversations, same_on: float, first_reply: Floats, later_reply: Floats) -> Floats:
    going_on, reply = 1 - 1 / talk.length_mean, talk.reply_share
    from_reply_on = 1 / (1 - going_on * ((1 - reply) * same_on + reply * later_reply))
    mean: Floats = (1 + going_on * reply * first_reply * from_reply_on) / (1 - going_on * (1 - reply) * same_on)
    return mean


def _connected_share(workload: Workload) -> Floats:
    """Share of users connected, by activity and time of day: 1 - exp(-rate x mean length), as in M/G/infinity per user.

    It is that of users who have just joined: their interest has not faded.
    """
    time_s = (np.arange(288) + 0.5) * DAY_S / 288
    load = rate_at(workload, time_s) * length_s_mean(workload.sessions)
    sigma = workload.sessions.activity_sigma
    return -np.expm1(-np.outer(activity_levels(sigma, ACTIVITIES if sigma else 1), load).ravel())


def _still_connected_share(workload: Workload) -> float:
    """Chance that the rest of a session, from a uniform point of it, outlasts a reply's delay."""
    from scipy.special import ndtr, ndtri

    sessions, talk = workload.sessions, workload.conversations
    delay = talk.reply_s_median * np.exp(talk.reply_sigma * ndtri((np.arange(500) + 0.5) / 500))
    sigma = max(sessions.length_sigma, 1e-9)
    apart = np.log(sessions.length_s_median / delay) / sigma
    left = ndtr(apart + sigma) - delay / length_s_mean(sessions) * ndtr(apart)
    return float(left.mean())
