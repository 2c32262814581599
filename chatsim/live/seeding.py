"""What stands in Redis and in the gateways before a run begins: rooms, members, ranked contacts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from redis.asyncio import Redis

from chatsim.engine.rooms import Rooms
from chatsim.live.config import Config
from chatsim.live.keys import Keys
from chatsim.rules.access import CHECK_NUMBERS, OPEN, POLICY_NUMBERS
from chatsim.rules.ranking import FRECENCY, FREQUENT
from chatsim.rules.ranking import POLICY_NUMBERS as RANKING_NUMBERS
from chatsim.rules.rooms import PERSONAL_ROOMS, ROOM_NUMBERS
from chatsim.rules.routing import ROUTING_NUMBERS
from chatsim.scenario import Scenario
from chatsim.world.tables import PAIR, World

NO_LIST = -1
AT_ONCE = 1000


def config_of(scenario: Scenario, world: World, redis: dict[str, Any], prefix: str, secret: str, rows: int) -> Config:
    """What gateway 0 is told, but for where its ledger is; other gateways differ in their number alone."""
    design, access, limits = scenario.design, scenario.access, scenario.limits
    rooms, lists = Rooms(world, design), scenario.friend_list
    policy = POLICY_NUMBERS[access.policy]
    return Config(
        number=0,
        host="127.0.0.1",
        port=0,
        redis=redis,
        prefix=prefix,
        secret=secret,
        ledger="",
        messages=len(world.messages),
        rows=rows,
        restarted=False,
        routing=ROUTING_NUMBERS[design.routing],
        rooms=ROOM_NUMBERS[design.rooms],
        asks_members=design.membership == "broker",
        own_devices=design.own_devices,
        local_shortcut=design.local_shortcut,
        leave_idle_s=design.leave_idle_s if design.leave == "idle" else 0.0,
        store=design.store,
        offline=design.offline,
        resync=scenario.client.resync,
        messages_per_s=limits.messages_per_s,
        burst=limits.burst,
        message_max_bytes=limits.message_max_bytes,
        access=policy,
        check=CHECK_NUMBERS[access.check],
        cache_s=access.cache_s,
        client_joins=access.client_joins,
        list_policy=NO_LIST if lists.policy == "none" else RANKING_NUMBERS[lists.policy],
        list_limit=lists.limit,
        half_life_s=lists.half_life_s if lists.policy == "frecency" else 0.0,
        has_presence=scenario.presence.show_to != "none",
        key_life_s=scenario.presence.key_life_s,
        push_after_s=60.0 * scenario.push.after_min,
        push_quota_per_min=scenario.push.quota_per_min,
        push_retry_s=scenario.push.retry_s,
        outbound_max_bytes=scenario.network.outbound_max_bytes,
        closes_full=scenario.network.outbound_policy == "close",
        connections_max=scenario.gateway.connections_max,
        broker_retry_s=scenario.gateway.broker_retry_s,
        ping_s=scenario.client.ping_s,
        ping_timeout_s=scenario.client.ping_timeout_s,
        start=world.rooms.start.tolist(),
        member=world.rooms.member.tolist(),
        is_pair=(world.rooms.kind == PAIR).tolist(),
        venue=_venues(scenario, world),
        rooms_of=[[room for room, _ in rooms.of_user(user)] for user in range(world.users)],
        friends=[rooms.friends(user) for user in range(world.users)] if policy != OPEN else [],
    )


async def seed(redis: Redis, scenario: Scenario, world: World, keys: Keys, now_s: float) -> None:
    """Writes into Redis what it must know before the first session: who is in which room, and ranked contacts."""
    pipe = redis.pipeline(transaction=False)
    if scenario.design.membership == "broker":
        rooms = Rooms(world, scenario.design)
        extra = world.users if rooms.kind == PERSONAL_ROOMS else 0
        for room in range(len(world.rooms) + extra):
            pipe.hset(keys.room(room), mapping={str(user): 1 for user in rooms.members(room)})
            if len(pipe) >= AT_ONCE:
                await pipe.execute()
    if scenario.friend_list.policy != "none":
        policy = RANKING_NUMBERS[scenario.friend_list.policy]
        for user in range(world.users):
            known = world.contacts.contact[world.contacts.start[user] : world.contacts.start[user + 1]].tolist()
            if known:
                pipe.zadd(keys.friends(user), _scores(policy, known, now_s, scenario.friend_list.half_life_s))
            if len(pipe) >= AT_ONCE:
                await pipe.execute()
    await pipe.execute()


def _scores(policy: int, known: list[int], now_s: float, half_life_s: float) -> dict[str, float]:
    """Scores in which contacts stand as they do when a run begins, the latest first."""
    if policy == FREQUENT:
        return {str(user): 1.0 - place * 1e-6 for place, user in enumerate(known)}
    unit = 1.0 / half_life_s if policy == FRECENCY else 1.0
    return {str(user): (now_s - 1.0 - place) * unit for place, user in enumerate(known)}


def _venues(scenario: Scenario, world: World) -> list[int]:
    """The room in which the messages of each room are broadcast; -1: the recipient's personal room."""
    if ROOM_NUMBERS[scenario.design.rooms] == PERSONAL_ROOMS:
        return np.where(world.rooms.kind == PAIR, -1, np.arange(len(world.rooms))).tolist()  # type: ignore[no-any-return]
    each = np.arange(len(world.rooms), dtype=np.int32)
    first = world.rooms.member[world.rooms.start[:-1]]
    zeros = np.zeros(len(each), np.int32)
    one_each = replace(
        world.messages, time_s=zeros.astype(float), sender=first, session=zeros, room=each, size_bytes=zeros,
        spam=zeros.astype(bool),
    )  # fmt: skip
    return Rooms(replace(world, messages=one_each), scenario.design).room
