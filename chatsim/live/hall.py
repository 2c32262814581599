"""Who is here: the sessions that a gateway holds, by user and by room, and the channels that they need."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from chatsim.live.config import Config
from chatsim.live.tokens import Rights
from chatsim.rules.limits import ACCEPTED, tokens_now, verdict
from chatsim.rules.rooms import PERSONAL_ROOMS, personal_room
from chatsim.rules.routing import ROOM, USER, publishes_per_recipient, room_channel, user_channel


@dataclass(eq=False, slots=True)
class Seat:
    """One session: ``socket`` is its WebSocket, ``number`` what its client calls it, ``rights`` those of its token.

    ``entered`` are the rooms that it came into by writing, with the time of its last message there.
    """

    socket: Any
    user: int
    number: int
    rights: Rights
    entered: dict[int, float] = field(default_factory=dict)
    seated: bool = False


class Hall:
    """The sessions of a gateway. ``local[user]``, ``members[room]``; and each user's tokens of the rate limit.

    >>> hall = Hall(config_of_two_rooms())
    >>> seat = Seat(None, 1, 0, Rights(1, 0.0, 1.0))
    >>> hall.join(seat) == [room_channel(0), room_channel(1)], hall.part(seat) == [room_channel(0), room_channel(1)]
    (True, True)
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.per_recipient = publishes_per_recipient(config.routing)
        self.total = len(config.is_pair)
        self.local: dict[int, list[Seat]] = {}
        self.members: dict[int, dict[Seat, None]] = {}
        self.entered: dict[int, dict[int, int]] = {}
        self._tokens: dict[int, tuple[float, float]] = {}

    # ------------------------------------------------------------------ rooms

    def members_of(self, room: int) -> list[int]:
        """The members of a room, ascending; a personal room has its user."""
        if room >= self.total:
            return [room - self.total]
        return self.config.member[self.config.start[room] : self.config.start[room + 1]]

    def knows(self, room: Any) -> bool:
        """Whether that is a room, personal ones among them."""
        users = len(self.config.rooms_of)
        return type(room) is int and 0 <= room < self.total + (users if self.config.rooms == PERSONAL_ROOMS else 0)

    def partner(self, room: int, user: int) -> int:
        """The other one in the room of a pair, or -1."""
        if room >= self.total or not self.config.is_pair[room]:
            return -1
        one, other = self.members_of(room)
        return one + other - user

    def venue(self, room: int, sender: int) -> int:
        """The room in which a message that is meant for the members of a room is broadcast."""
        venue = self.config.venue[room]
        return venue if venue >= 0 else personal_room(self.partner(room, sender), self.total)

    def hearers(self, room: int, sender: int) -> list[int]:
        """The users in a room, ascending, without the sender; last the sender, for other devices."""
        users = {*self.members_of(room), *self.entered.get(room, ())}
        return self.without(sorted(users), sender)

    def without(self, users: list[int], sender: int) -> list[int]:
        """These users without the sender, who comes last where own devices get a copy."""
        others = [user for user in users if user != sender]
        return [*others, sender] if self.config.own_devices else others

    # ------------------------------------------------------------------ sessions

    def join(self, seat: Seat) -> list[int]:
        """Takes a session on; the channels to which the gateway must now subscribe."""
        seat.seated = True
        here = self.local.setdefault(seat.user, [])
        here.append(seat)
        channels = [user_channel(seat.user)] if self.config.routing == USER and len(here) == 1 else []
        if not self.per_recipient:
            for room in self.config.rooms_of[seat.user]:
                channels += self.into(seat, room)
        return channels

    def part(self, seat: Seat) -> list[int]:
        """Takes a session off; the channels that the gateway no longer needs."""
        seat.seated = False
        here = self.local[seat.user]
        here.remove(seat)
        channels = []
        if not here:
            del self.local[seat.user]
            if self.config.routing == USER:
                channels.append(user_channel(seat.user))
        rooms = [] if self.per_recipient else self.config.rooms_of[seat.user]
        for room in [*rooms, *seat.entered]:
            channels += self.out_of(seat, room)
        for room in seat.entered:
            self.counted_in(seat.user, room, -1)
        return channels

    def into(self, seat: Seat, room: int) -> list[int]:
        """A session is in a room; the channel to which the gateway must now subscribe, if any."""
        here = self.members.setdefault(room, {})
        needs = not here and self.config.routing == ROOM
        here[seat] = None
        return [room_channel(room)] if needs else []

    def out_of(self, seat: Seat, room: int) -> list[int]:
        """A session is in a room no longer; the channel that the gateway does not need any more, if any."""
        here = self.members.get(room)
        if here is None or seat not in here:
            return []
        del here[seat]
        if here:
            return []
        del self.members[room]
        return [room_channel(room)] if self.config.routing == ROOM else []

    def counted_in(self, user: int, room: int, change: int) -> None:
        """One session more or less of a user that is no member is in a room."""
        inside = self.entered.setdefault(room, {})
        inside[user] = inside.get(user, 0) + change
        if inside[user] <= 0:
            del inside[user]
            if not inside:
                del self.entered[room]

    def targets(self, venue: int, recipient: int, sender: int, session: int) -> list[Seat] | None:
        """The sessions here to which a message is written; None where nobody here is in the room (or the recipient).

        ``session`` is the number of the one that has written it.
        """
        here = self.local.get(recipient) if recipient >= 0 else self.members.get(venue)
        if not here:
            return None
        if self.config.own_devices:
            return [seat for seat in here if seat.number != session]
        return [seat for seat in here if seat.user != sender]

    def limit(self, user: int, size_bytes: int, now_s: float) -> int:
        """Whether a message is taken (ACCEPTED, TOO_MANY, TOO_LARGE); what is taken counts against its sender."""
        config = self.config
        left, since_s = self._tokens.get(user, (float(config.burst), now_s))
        tokens = tokens_now(left, now_s - since_s, config.messages_per_s, config.burst)
        found = verdict(tokens, size_bytes, config.messages_per_s, config.message_max_bytes)
        if config.messages_per_s:
            self._tokens[user] = (tokens - 1.0 if found == ACCEPTED else tokens, now_s)
        return found


def config_of_two_rooms() -> Config:
    """A configuration for examples: users 0 and 1 are a pair, 0, 1 and 2 a group, with a channel for each room."""
    return Config(
        0, "127.0.0.1", 0, {}, "", "", "", 0, 0, False, ROOM, 0, False, False, False, 0.0, "never", "drop", True, 0.0,
        1, 0, 0, 0, 0.0, False, -1, 0, 0.0, False, 0.0, 0.0, 0, 0.0, 1e6, True, 0, 1.0, 25.0, 20.0,
        [0, 2, 5], [0, 1, 0, 1, 2], [True, False], [0, 1], [[0, 1], [0, 1], [1]], [],
    )  # fmt: skip

