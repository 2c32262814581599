"""On which gateway the balancer places a session."""

from __future__ import annotations

from collections.abc import Container, Sequence

from chatsim.rules.hashing import spread

ROUND_ROBIN, LEAST_CONNECTIONS, STICKY, RETURNING = range(4)
PLACEMENT_NUMBERS = {
    "round_robin": ROUND_ROBIN,
    "least_connections": LEAST_CONNECTIONS,
    "sticky": STICKY,
    "returning": RETURNING,
}


def place(
    placement: int,
    arrivals: int,
    user: int,
    connections: Sequence[int],
    connections_max: int,
    last: int = -1,
    out: Container[int] = (),
) -> int:
    """The gateway for a new session, or -1 where none has room.

    ``arrivals`` counts the sessions placed so far, ``connections[g]`` those that gateway g holds, and
    ``connections_max`` is the limit of one gateway (0: none). ``last`` is the gateway that the user was on last (-1:
    none): a returning session goes back there, a new one by round robin. All but least connections go on to the next
    gateway where theirs is full, or among those that the balancer has taken ``out``.

    >>> place(ROUND_ROBIN, 5, 0, [0, 0, 0], 0)
    2
    >>> place(LEAST_CONNECTIONS, 5, 0, [4, 2, 2], 0)
    1
    >>> place(STICKY, 0, 1, [1, 1], 1)
    -1
    >>> place(RETURNING, 5, 0, [0, 0, 0], 0, last=1), place(RETURNING, 5, 0, [0, 0, 0], 0)
    (1, 2)
    >>> place(ROUND_ROBIN, 5, 0, [0, 0, 0], 0, out=(2,)), place(LEAST_CONNECTIONS, 5, 0, [4, 2, 2], 0, out=(1,))
    (0, 2)
    """
    gateways = len(connections)
    if placement == LEAST_CONNECTIONS:
        best = -1
        for gateway in range(gateways):
            if gateway not in out and (best < 0 or connections[gateway] < connections[best]):
                best = gateway
        return best if best >= 0 and (connections_max == 0 or connections[best] < connections_max) else -1
    first = spread(user) if placement == STICKY else arrivals
    if placement == RETURNING and last >= 0:
        first = last
    for step in range(gateways):
        gateway = (first + step) % gateways
        if gateway not in out and (connections_max == 0 or connections[gateway] < connections_max):
            return gateway
    return -1
