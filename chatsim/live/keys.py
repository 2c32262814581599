"""What stands where in Redis. Every name begins with the prefix of the run, so that runs and other users keep apart."""

from __future__ import annotations

STORE = """
local p, all, pushes, wait_s, now = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
redis.call('RPUSH', p .. 'history:' .. ARGV[6], ARGV[7])
local absent = {}
for place = 8, #ARGV do
  local user = ARGV[place]
  local held = redis.call('SCARD', p .. 'at:' .. user)
  if all == '1' or held == 0 then redis.call('RPUSH', p .. 'inbox:' .. user, ARGV[7]) end
  if pushes == '1' and held == 0 and redis.call('SET', p .. 'wait:' .. user, now, 'NX', 'EX', wait_s) then
    absent[#absent + 1] = tonumber(user)
  end
end
return absent
"""
"""Stores a message: in the history of its room, and for each recipient who may have to read it later. Gives those who
have no session anywhere and are to be notified, of whom no push is waiting."""


class Keys:
    """The names of one run.

    >>> Keys("c1:").inbox(7), Keys("c1:").channel(0)
    ('c1:inbox:7', 'c1:c0')
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.pushed = f"{prefix}pushed"

    def channel(self, number: int) -> str:
        """A channel of :mod:`chatsim.rules.routing`."""
        return f"{self.prefix}c{number}"

    def history(self, room: int) -> str:
        """A list: the messages of a room."""
        return f"{self.prefix}history:{room}"

    def inbox(self, user: int) -> str:
        """A list: the messages in store for a user."""
        return f"{self.prefix}inbox:{user}"

    def at(self, user: int) -> str:
        """A set: the gateways that hold sessions of a user."""
        return f"{self.prefix}at:{user}"

    def came(self, user: int) -> str:
        """When a session of a user came last."""
        return f"{self.prefix}came:{user}"

    def wait(self, user: int) -> str:
        """Stands while a push of a user is waiting."""
        return f"{self.prefix}wait:{user}"

    def minute(self, minute: int) -> str:
        """How many pushes the provider was handed in a minute."""
        return f"{self.prefix}minute:{minute}"

    def online(self, user: int) -> str:
        """The presence key of a user."""
        return f"{self.prefix}online:{user}"

    def room(self, room: int) -> str:
        """A hash: how many reasons a user has to be in a room."""
        return f"{self.prefix}room:{room}"

    def ended(self, user: int, other: int) -> str:
        """When a user's right to write to another ended."""
        return f"{self.prefix}ended:{user}:{other}"

    def friends(self, user: int) -> str:
        """A sorted set: a user's ranked contacts."""
        return f"{self.prefix}friends:{user}"
