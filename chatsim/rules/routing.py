"""How a message finds the gateways of its audience.

A channel is one whole number, so that a table of subscriptions needs no strings: 0 is the global channel, and user,
room and server channels take turns above it.
"""

from __future__ import annotations

from chatsim.rules.hashing import spread

IN_PROCESS, GLOBAL, GLOBAL_PER_RECIPIENT, USER, ROOM, DIRECTORY, MESH = range(7)
ROUTING_NUMBERS = {
    "in_process": IN_PROCESS,
    "global": GLOBAL,
    "global_per_recipient": GLOBAL_PER_RECIPIENT,
    "user": USER,
    "room": ROOM,
    "directory": DIRECTORY,
    "mesh": MESH,
}

SINGLE, CLUSTER, SHARDED = range(3)
TOPOLOGY_NUMBERS = {"single": SINGLE, "cluster": CLUSTER, "sharded": SHARDED}

GLOBAL_CHANNEL = 0
"""With channels of rooms, it carries what gateways cannot have subscribed to yet: first messages of new rooms."""

PRESENCE_CHANNELS = 1 << 40


def user_channel(user: int) -> int:
    """The channel of one user."""
    return 3 * user + 1


def room_channel(room: int) -> int:
    """The channel of one room."""
    return 3 * room + 2


def server_channel(gateway: int) -> int:
    """The channel of one gateway.

    >>> len({GLOBAL_CHANNEL, user_channel(7), room_channel(7), server_channel(7)})
    4
    """
    return 3 * gateway + 3


def presence_channel(user: int) -> int:
    """The channel on which changes of a user's presence are told to the gateways of those who watch.

    >>> presence_channel(7) > user_channel(10**9)
    True
    """
    return PRESENCE_CHANNELS + user


def passes_broker(routing: int) -> bool:
    """Whether messages travel through the broker."""
    return routing not in (IN_PROCESS, MESH)


def publishes_per_recipient(routing: int) -> bool:
    """Whether there is one PUBLISH for each recipient, instead of one for the whole audience."""
    return routing in (USER, GLOBAL_PER_RECIPIENT)


def keeps_registry(routing: int) -> bool:
    """Whether the broker holds a registry of users' sessions, kept up to date at each login and logout."""
    return routing in (USER, GLOBAL_PER_RECIPIENT, DIRECTORY)


def standing_channel(routing: int, gateway: int) -> int:
    """The channel to which a gateway subscribes when it starts, or -1."""
    if routing in (GLOBAL, GLOBAL_PER_RECIPIENT):
        return GLOBAL_CHANNEL
    if routing == DIRECTORY:
        return server_channel(gateway)
    return -1


def publish_node(channel: int, topology: int, nodes: int) -> int:
    """The broker node that takes a PUBLISH on a channel: clients hash the channel over the nodes.

    >>> publish_node(GLOBAL_CHANNEL, SINGLE, 1)
    0
    """
    if topology == SINGLE:
        return 0
    return spread(channel) % nodes


def subscribe_node(channel: int, gateway: int, topology: int, nodes: int) -> int:
    """The broker node at which a gateway subscribes to a channel.

    In a classic cluster every node hears every PUBLISH, so a gateway stays with one node for all its channels.
    """
    if topology == CLUSTER:
        return gateway % nodes
    return publish_node(channel, topology, nodes)


def bus_copies(topology: int, nodes: int) -> int:
    """To how many other nodes a PUBLISH is sent on."""
    return nodes - 1 if topology == CLUSTER else 0
