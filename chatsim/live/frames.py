"""What clients and gateways say to each other: JSON objects with a kind ``t``, one to a WebSocket frame.

A client says ``hello`` (which messages its user has), ``send``, ``alive``, ``ask`` (is a user online?), ``token`` and
``join``; a gateway ``welcome`` (the friend list, and what was missed), ``msg``, ``no``, ``state`` and ``in``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from chatsim.live.ledger import CAUSES

MESSAGE = b'{"t":"msg","m":'
"""How the frame of a message begins; its number follows."""


class MalformedError(Exception):
    """A frame that no client of ours sends."""


def parsed(frame: str | bytes, kind: str = "") -> dict[str, Any]:
    """A client's frame as a dict with a ``t``; MalformedError where it is none, or of another kind than asked for.

    >>> parsed('{"t":"send","m":1}')["m"]
    1
    >>> parsed("[1]")
    Traceback (most recent call last):
    chatsim.live.frames.MalformedError
    """
    try:
        said = json.loads(frame)
    except (ValueError, RecursionError) as error:
        raise MalformedError from error
    if not isinstance(said, dict) or not isinstance(said.get("t"), str) or (kind and said["t"] != kind):
        raise MalformedError
    return said


def written(said: dict[str, Any]) -> tuple[int, int, str]:
    """Number, room and body of a ``send``; MalformedError where one is missing or of another type."""
    message, room, body = said.get("m"), said.get("room"), said.get("body")
    if type(message) is not int or type(room) is not int or not isinstance(body, str):
        raise MalformedError
    return message, room, body


def send(message: int, room: int, size_bytes: int) -> bytes:
    """A message of so many bytes, if that is enough for a message at all.

    >>> len(send(1, 2, 100))
    100
    """
    head = f'{{"t":"send","m":{message},"room":{room},"body":"'
    return f'{head}{"x" * max(0, size_bytes - len(head) - 2)}"}}'.encode()


def text_of(message: int, room: int, sender: int, body: str) -> str:
    """A message as its audience gets it."""
    return f'{{"t":"msg","m":{message},"room":{room},"from":{sender},"body":{json.dumps(body)}}}'


def number_of(frame: bytes) -> int:
    """The number of a message in a frame that begins with MESSAGE.

    >>> number_of(text_of(12, 3, 4, "hi").encode())
    12
    """
    return int(frame[len(MESSAGE) : frame.index(b",", len(MESSAGE))])


def refusal(message: int, cause: int) -> bytes:
    """What the sender of a message is told that was not taken."""
    return f'{{"t":"no","m":{message},"why":"{CAUSES[cause]}"}}'.encode()


def welcome(listed: Sequence[tuple[int, bool]], missed: Sequence[bytes]) -> bytes:
    """What a session gets first: its friends, each with whether they are online, and the messages that were missed."""
    friends = ",".join(f"[{user},{int(online)}]" for user, online in listed)
    return b'{"t":"welcome","list":[%b],"missed":[%b]}' % (friends.encode(), b",".join(missed))


def plain(kind: str, **values: Any) -> bytes:
    """Any other frame.

    >>> plain("ask", user=7)
    b'{"t":"ask","user":7}'
    """
    return json.dumps({"t": kind, **values}, separators=(",", ":")).encode()
