"""How clients come back, what lets them in, and how gateways come and go with the load."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from chatsim.scenario.keys import Frozen, of


class Client(Frozen):
    """What a client does when its connection breaks, and to be sure that messages arrive."""

    reconnect: Literal["none", "fixed", "phoenix", "socketio", "full_jitter"] = of(
        "socketio",
        "when a client whose connection broke tries again: never, after reconnect_s each time, as Phoenix does (10 ms to 5 s, "
        "no jitter), as Socket.IO does (1 to 5 s, half of it jitter), or anywhere in a time that doubles",
    )
    reconnect_s: float = of(1.0, "first pause of 'fixed', 'socketio' and 'full_jitter'", "published", "Socket.IO client", gt=0)
    reconnect_max_s: float = of(5.0, "longest pause of 'socketio' and 'full_jitter'", "published", "Socket.IO client", gt=0)
    tries_max: int = of(0, "tries in a row after which a client gives up; 0 sets no limit", ge=0)
    connect_timeout_s: float = of(20.0, "a login that takes longer is given up", "published", "Socket.IO client", gt=0)
    ping_s: float = of(25.0, "time between pings, by which a dead connection is noticed", "published", "Socket.IO", gt=0)
    ping_timeout_s: float = of(20.0, "time for the answer to a ping", "published", "Socket.IO", gt=0)
    buffer_max: int = of(1000, "messages that wait in a client without a connection; those beyond are not taken", "assumption", ge=0)
    guarantee: Literal["at_most_once", "at_least_once"] = of(
        "at_most_once", "a message is sent and forgotten; or sent again until the gateway says that it has it"
    )
    ack_timeout_s: float = of(5.0, "at_least_once: time after which a message is sent again", "assumption", gt=0)
    sends_max: int = of(0, "at_least_once: times that a message is sent; 0 sets no limit", ge=0)
    deduplicate: bool = of(True, "at_least_once: a message that is in store already is not taken again")
    resync: bool = of(
        True,
        "a client that comes back says which message it has seen last and gets what it missed; otherwise only what was "
        "stored while its user had no session",
    )

    @model_validator(mode="after")
    def _pauses_fit(self) -> Self:
        if self.reconnect_max_s < self.reconnect_s:
            raise ValueError(
                f"reconnect_max_s = {self.reconnect_max_s:g}: at least reconnect_s = {self.reconnect_s:g} is needed"
            )
        return self


class Balancer(Frozen):
    """What stands before the gateways."""

    notice_s: float = of(5.0, "time until it sees that a gateway is gone or back; tries on one that is gone fail", "assumption", ge=0)
    connections_per_s: float = of(0.0, "new connections that it lets through; others are refused at once; 0 sets no limit", ge=0)
    burst: int = of(100, "new connections that it lets through at once after a pause", "assumption", ge=1)


class Scaling(Frozen):
    """Gateways come and go with the load, between least and design.gateways."""

    start: int = of(0, "gateways at the start; 0: all of them, always", ge=0)
    least: int = of(1, "fewest gateways", ge=1)
    up_above: float = of(0.7, "mean utilisation above which one more is started", "assumption", gt=0, le=1)
    down_below: float = of(0.3, "mean utilisation below which one is drained", "assumption", ge=0, lt=1)
    check_s: float = of(15.0, "time over which utilisation is looked at, again and again", "assumption", gt=0)
    delay_s: float = of(60.0, "from the decision to the first session of a new gateway", "assumption", ge=0)
    grace_s: float = of(10.0, "time over which the sessions of a gateway that goes are closed", "assumption", ge=0)

    @model_validator(mode="after")
    def _thresholds_fit(self) -> Self:
        if self.down_below >= self.up_above:
            raise ValueError(f"down_below = {self.down_below:g}: less than up_above = {self.up_above:g} is needed")
        if self.start and self.least > self.start:
            raise ValueError(f"least = {self.least}: at most start = {self.start} is allowed")
        return self
