"""Fan-out: how many gateways a message reaches, when its last recipient has it, and what each routing costs."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from chatsim.scenario.models import ROUTINGS, Routing

Array = npt.NDArray[np.float64]


def gateways_touched(gateways: float | Array, recipients: float | Array) -> float | Array:
    """Expected number of gateways that hold at least one of ``recipients`` sessions placed uniformly.

    S (1 - (1 - 1/S)^F) for S gateways and F sessions. Shapes: numbers, or arrays that broadcast.

    >>> round(gateways_touched(100, 10), 4)
    9.5618
    """
    servers, sessions = np.asarray(gateways, np.float64), np.asarray(recipients, np.float64)
    if (servers < 1).any():
        raise ValueError(f"gateways = {servers.min():g}: at least 1 is needed")
    if (sessions < 0).any():
        raise ValueError(f"recipients = {sessions.min():g}: at least 0 is needed")
    with np.errstate(divide="ignore", invalid="ignore"):
        touched = -servers * np.expm1(sessions * np.log1p(-1.0 / servers))
    touched = np.where(sessions == 0, 0.0, touched)
    return touched if touched.ndim else float(touched)


def discarded_share(gateways: float, members: float) -> float:
    """Share of the pushes of a global channel that reach a gateway without any of ``members`` sessions: (1 - 1/S)^m.

    >>> round(discarded_share(100, 10), 3)  # socketio/socket.io issue 5226
    0.904
    """
    if gateways < 1:
        raise ValueError(f"gateways = {gateways:g}: at least 1 is needed")
    return float((1.0 - 1.0 / gateways) ** members)


# --------------------------------------------------------------------------- the last of F


def harmonic(count: int) -> float:
    """1 + 1/2 + ... + 1/count: the mean of the largest of that many exponentials of mean 1.

    >>> harmonic(3) == 1 + 1/2 + 1/3
    True
    """
    if count < 1:
        raise ValueError(f"count = {count}: at least 1 is needed")
    if count < 1000:
        return math.fsum(1.0 / k for k in range(1, count + 1))
    return math.log(count) + 0.5772156649015329 + 1.0 / (2 * count) - 1.0 / (12 * count * count)


def join_two_s(arrivals_per_s: float, service_s: float) -> float:
    """Mean time until both parts of a fork over two M/M/1 queues are done: (12 - rho) / 8 of one queue's response.

    Flatto and Hahn (1984), Nelson and Tantawi (1988). Each arrival puts one part into every queue.
    """
    rho, alone = _alone(arrivals_per_s, service_s)
    return (12.0 - rho) / 8.0 * alone


def join_approximate_s(parts: int, arrivals_per_s: float, service_s: float) -> float:
    """Mean time until all of ``parts`` over M/M/1 queues are done, by the scaling of Nelson and Tantawi (1988).

    (H_F / H_2 + 4/11 (1 - H_F / H_2) rho) T_2: exact for one and two parts; they give 5 % as error up to 32 parts.

    >>> round(join_approximate_s(2, 0.5, 1.0), 6) == round(join_two_s(0.5, 1.0), 6)
    True
    """
    rho, alone = _alone(arrivals_per_s, service_s)
    if parts == 1:
        return alone
    ratio = harmonic(parts) / harmonic(2)
    return (ratio + 4.0 / 11.0 * (1.0 - ratio) * rho) * join_two_s(arrivals_per_s, service_s)


def join_bounds_s(parts: int, arrivals_per_s: float, service_s: float) -> tuple[float, float]:
    """(lower, upper) bound of the mean time until all of ``parts`` over M/M/1 queues are done.

    Lower: the largest of independent services without any queue, H_F service, and no less than one or two parts alone.
    Upper: the largest of independent responses, H_F / (1 / service - arrivals), since queues with common arrivals are
    associated (Nelson and Tantawi 1988).

    >>> join_bounds_s(1, 0.5, 1.0)
    (2.0, 2.0)
    """
    _, alone = _alone(arrivals_per_s, service_s)
    floor = alone if parts == 1 else join_two_s(arrivals_per_s, service_s)
    return max(floor, harmonic(parts) * service_s), harmonic(parts) * alone


def lognormal_max(count: float, median: float, sigma: float) -> float:
    """Mean of the largest of ``count`` independent log-normals, in the unit of ``median``.

    With m the median and G = Phi^F the distribution of the largest standard normal z, the mean is
    m (1 + int_0^inf (1 - G) sigma e^(sigma z) dz - int_-inf^0 G sigma e^(sigma z) dz); both integrands fall like a
    normal density, so that equal steps are as good as exact.

    >>> round(lognormal_max(1, 15.0, 0.6), 4) == round(15.0 * math.exp(0.18), 4)
    True
    """
    if count < 1:
        raise ValueError(f"count = {count:g}: at least 1 is needed")
    if median < 0 or sigma < 0:
        raise ValueError(f"median = {median:g}, sigma = {sigma:g}: at least 0 is needed")
    if sigma == 0:
        return median
    from scipy.special import log_ndtr

    step = 1.0 / 256
    above = np.arange(0.0, 12.0 + sigma, step)
    below = -np.arange(0.0, 40.0, step)
    gain = -np.expm1(count * log_ndtr(above)) * sigma * np.exp(sigma * above)
    loss = np.exp(count * log_ndtr(below)) * sigma * np.exp(sigma * below)
    return float(median * (1.0 + _simpson(gain, step) - _simpson(loss, step)))


def lognormals_max(medians: npt.ArrayLike, sigma: float) -> float:
    """Mean of the largest of independent log-normals with these medians and one sigma, in the unit of the medians.

    With G the product of their distributions and x = e^u it is the integral of 1 - G(x), that is of (1 - G(e^u)) e^u.

    >>> round(lognormals_max([15.0] * 20, 0.6), 3) == round(lognormal_max(20, 15.0, 0.6), 3)
    True
    """
    from scipy.special import log_ndtr

    places = np.asarray(medians, np.float64)
    if not places.size or (places <= 0).any() or sigma < 0:
        raise ValueError(f"medians = {places.tolist()}, sigma = {sigma:g}: positive medians are needed")
    largest = float(places.max())
    if sigma == 0:
        return largest
    steps = np.linspace(math.log(largest) - 8.0 * sigma, math.log(largest) + 10.0 * sigma + sigma * sigma, 401)
    below = log_ndtr((steps[None, :] - np.log(places)[:, None]) / sigma).sum(axis=0)
    step = float(steps[1] - steps[0])
    return float(np.exp(steps[0])) + _simpson(-np.expm1(below) * np.exp(steps), step)


def _simpson(values: Array, step: float) -> float:
    odd = len(values) - 1 + len(values) % 2
    values = values[:odd]
    return float(step / 3.0 * (values[0] + values[-1] + 4.0 * values[1:-1:2].sum() + 2.0 * values[2:-1:2].sum()))


def _alone(arrivals_per_s: float, service_s: float) -> tuple[float, float]:
    from chatsim.theory.queues import mm1_response_s, utilisation

    return utilisation(arrivals_per_s, service_s), mm1_response_s(arrivals_per_s, service_s)


# --------------------------------------------------------------------------- the routing table


@dataclass(frozen=True, slots=True)
class Audience:
    """Means per message of whom it is meant for. ``recipients`` counts members but the sender, ``online`` those of
    them with a session, ``sessions`` theirs; ``held`` (recipient, gateway) pairs with a session, ``touched`` gateways
    with a session of a recipient, ``touched_room`` the same with the sender's own sessions counted."""

    recipients: float
    online: float
    sessions: float
    held: float
    touched: float
    touched_room: float


def uniform_audience(gateways: int, recipients: int, sessions: int) -> Audience:
    """An audience of known size: every session belongs to another user, and lies on a uniformly drawn gateway.

    >>> uniform_audience(1, 3, 2).touched
    1.0
    """
    touched = float(gateways_touched(gateways, sessions))
    return Audience(recipients, sessions, sessions, sessions, touched, float(gateways_touched(gateways, sessions + 1)))


@dataclass(frozen=True, slots=True)
class MessageWork:
    """What one message asks of the broker and of all gateways, in numbers of things (means).

    ``publishes`` and the ``pushes`` they cause, ``lookups`` of ``lookup_users`` in all; ``parses`` of pushes, replies
    and peers' messages, ``discards`` of these (no member, or not that recipient, there), ``peer_sends``, ``commands``
    to broker and peers, ``writes`` to sessions.
    """

    publishes: float = 0.0
    pushes: float = 0.0
    lookups: float = 0.0
    lookup_users: float = 0.0
    parses: float = 0.0
    discards: float = 0.0
    peer_sends: float = 0.0
    commands: float = 0.0
    writes: float = 0.0

    def row(self) -> dict[str, float]:
        """As a plain dict, for a table."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def message_work(
    routing: Routing, gateways: int, audience: Audience, mesh_directory: bool = False, local_shortcut: bool = False
) -> MessageWork:
    """The routing table: work per message. Storing is not in it.

    global_per_recipient: each push makes its gateway look the recipient up, and read the reply. room: pushed to each
    gateway with a member online, the sender's included. directory: one look-up of all recipients, then a PUBLISH to
    each gateway that holds any. mesh: the sender's gateway writes to its own sessions directly and sends to the S - 1
    others, or with a directory to those with a member. With ``local_shortcut`` the sender's gateway serves its own
    sessions at once: it ignores its own push, or with a directory does not send it.

    >>> message_work("global", 100, uniform_audience(100, 9, 9)).pushes
    100.0
    >>> message_work("user", 100, uniform_audience(100, 9, 9)).publishes
    9
    """
    if routing not in ROUTINGS:
        raise ValueError(f"routing = '{routing}': allowed: {', '.join(ROUTINGS)}")
    servers, writes = float(gateways), audience.sessions
    if routing == "in_process":
        return MessageWork(writes=writes)
    empty = servers - audience.touched_room
    if routing == "mesh":
        sent = audience.touched_room - 1.0 if mesh_directory else servers - 1.0
        discards = 0.0 if mesh_directory else empty
        return MessageWork(parses=sent, discards=discards, peer_sends=sent, commands=sent, writes=writes)
    own = 1.0 - 1.0 / servers if local_shortcut else 1.0
    recipients, held, touched = audience.recipients, audience.held, audience.touched * own
    if routing == "global_per_recipient":
        pushes = recipients * servers
        discards = own * (pushes - held)
        return MessageWork(recipients, pushes, pushes, pushes, 2.0 * pushes, discards, 0.0, recipients + pushes, writes)
    if routing == "directory":
        return MessageWork(touched, touched, 1.0, recipients, touched + 1.0, 0.0, 0.0, touched + 1.0, writes)
    publishes, pushes, discards = {
        "global": (1.0, servers, empty), "user": (recipients, held, 0.0), "room": (1.0, audience.touched_room, 0.0),
    }[routing]
    return MessageWork(publishes, pushes, parses=pushes, discards=discards, commands=publishes, writes=writes)
