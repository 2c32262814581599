"""Signed tokens: who a client is, since when its rights are known, and to which rooms it may not write.

A token is ``base64(JSON).base64(HMAC-SHA256 of that)``, as a JSON web token with HS256 is without its header.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass

LARGEST = 6000
"""Longest token that is looked at: a header line of a WebSocket handshake may have 8,192 bytes."""


@dataclass(frozen=True, slots=True)
class Rights:
    """What a token says: ``user``, issued and expiring at these times of the monotonic clock, and closed ``rooms``."""

    user: int
    issued_s: float
    expires_s: float
    rooms: tuple[int, ...] = ()


class TokenError(Exception):
    """A token that nobody here has signed, or that is over."""


def issue(secret: bytes, rights: Rights) -> str:
    """A token with these rights.

    >>> check(b"key", issue(b"key", Rights(7, 0.0, 60.0)), 59.0).user
    7
    """
    said = [rights.user, rights.issued_s, rights.expires_s, rights.rooms]
    body = base64.urlsafe_b64encode(json.dumps(said).encode())
    return f"{body.decode()}.{_signature(secret, body)}"


def check(secret: bytes, token: str, now_s: float) -> Rights:
    """The rights in a token; TokenError where it is malformed, signed by somebody else, or over.

    >>> check(b"another key", issue(b"key", Rights(7, 0.0, 60.0)), 59.0)
    Traceback (most recent call last):
    chatsim.live.tokens.TokenError: not signed here
    """
    body, _, signature = token.partition(".")
    if len(token) > LARGEST or not hmac.compare_digest(_signature(secret, body.encode()).encode(), signature.encode()):
        raise TokenError("not signed here")
    try:
        user, issued_s, expires_s, rooms = json.loads(base64.urlsafe_b64decode(body))
        rights = Rights(int(user), float(issued_s), float(expires_s), tuple(rooms))
    except (binascii.Error, ValueError, TypeError) as error:
        raise TokenError("malformed") from error
    if now_s >= rights.expires_s:
        raise TokenError("over")
    return rights


def room_for(rooms: Sequence[int]) -> tuple[int, ...]:
    """As many of these rooms as a token has room for, the last ones first."""
    return tuple(rooms[-(LARGEST // 16) :])


def _signature(secret: bytes, body: bytes) -> str:
    return base64.urlsafe_b64encode(hmac.new(secret, body, hashlib.sha256).digest()).decode()
