"""How to speak with a server that is none of ours: what a client sends, and what the frames that come to it mean.

An adapter knows a protocol; what is joined and what is sent is a template, as each server has its own events. Each text
carries a mark with the number of the message, and a frame in which the mark stands brings that message, in whatever it
is wrapped. So an adapter need not know what a server makes of a message.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Protocol

from chatsim.scenario import InputError
from chatsim.scenario.errors import nearest

MARK = re.compile(rb"chatsim-(\d+)-")


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a frame is to its client: what to ``reply`` (empty: nothing), whether it is now ``ready`` to join and send,
    and whether the server has ``refused`` it."""

    reply: bytes = b""
    ready: bool = False
    refused: bool = False


class Adapter(Protocol):
    """A protocol over WebSocket. ``resource`` is where its servers listen, where an address does not say that;
    ``ready_at_once``: a client may send as soon as its WebSocket is open."""

    resource: str
    ready_at_once: bool

    def meaning(self, frame: bytes) -> Meaning:
        """What a frame that brings no message means."""

    def joins(self, room: int, user: int) -> bytes:
        """The frame with which a client comes into a room; empty where it need not."""

    def sends(self, room: int, user: int, text: str) -> bytes:
        """The frame of a message."""


class PlainJson:
    """One JSON value to a text frame. All that a server must know to be measured:

    - a client opens a WebSocket, and sends ``{"type":"join","room":"3"}`` once: it is in room 3 from then on;
    - it sends ``{"type":"message","room":"3","text":"chatsim-12-xxxx"}``: the server writes the text to all others in
      the room, in a frame of any form, at once or with others. Whether the sender gets it too is the server's choice;
    - whatever else the server writes (welcomes, acknowledgements) is read and means nothing.

    Other forms are templates, ``join`` and ``send``, with the places {room}, {user} and {text}; an empty ``join``: a
    client need not join.

    >>> PlainJson().joins(3, 7)
    b'{"type":"join","room":"3"}'
    >>> PlainJson(send='["say",{"to":{room},"body":"{text}"}]').sends(3, 7, "hello")
    b'["say",{"to":3,"body":"hello"}]'
    """

    resource, ready_at_once = "/", True
    join = '{"type":"join","room":"{room}"}'
    send = '{"type":"message","room":"{room}","text":"{text}"}'
    head = ""

    def __init__(self, join: str | None = None, send: str | None = None) -> None:
        self.join = self.join if join is None else join
        self.send = self.send if send is None else send
        if "{text}" not in self.send:
            raise InputError(f"--send '{self.send}': {{text}} is missing, by which messages are known")
        for option, template in (("--join", self.join), ("--send", self.send)):
            if template:
                self._check(option, template)

    def meaning(self, frame: bytes) -> Meaning:
        """Nothing but messages matters."""
        return Meaning()

    def joins(self, room: int, user: int) -> bytes:
        """The template of ``--join``."""
        return f"{self.head}{filled(self.join, room, user)}".encode() if self.join else b""

    def sends(self, room: int, user: int, text: str) -> bytes:
        """The template of ``--send``."""
        return f"{self.head}{filled(self.send, room, user, text)}".encode()

    def _check(self, option: str, template: str) -> Any:
        try:
            return json.loads(filled(template, 1, 1, "x"))
        except ValueError as error:
            raise InputError(f"{option} '{template}': is no JSON") from error


class SocketIo(PlainJson):
    """Socket.IO 5 on Engine.IO 4, by WebSocket alone, on the main namespace; events without acknowledgement.

    The templates are events, ``["name", argument, ...]``. What a server must know, unless these say otherwise: the
    event ``join`` with a room's name, and the event ``message`` with a room and a text, which it emits to the room.

    >>> SocketIo().joins(3, 7)
    b'42["join","3"]'
    >>> SocketIo().meaning(b"2")
    Meaning(reply=b'3', ready=False, refused=False)
    """

    resource, ready_at_once = "/socket.io/?EIO=4&transport=websocket", False
    join = '["join","{room}"]'
    send = '["message",{"room":"{room}","text":"{text}"}]'
    head = "42"

    def meaning(self, frame: bytes) -> Meaning:
        """Engine.IO: 0 open, 2 ping, 1 close; in its messages (4) Socket.IO: 40 connected, 41 cut off, 44 refused."""
        if frame.startswith(b"0"):
            return Meaning(reply=b"40")
        if frame.startswith(b"2"):
            return Meaning(reply=b"3" + frame[1:])
        return Meaning(ready=frame.startswith(b"40"), refused=frame.startswith((b"44", b"41", b"1")))

    def _check(self, option: str, template: str) -> Any:
        event = super()._check(option, template)
        if not isinstance(event, list) or not event or not isinstance(event[0], str):
            raise InputError(f"""{option} '{template}': an event is ["its name", ...]""")
        return event


ADAPTERS: dict[str, type[PlainJson]] = {"json": PlainJson, "socketio": SocketIo}


def adapter_of(name: str, join: str | None = None, send: str | None = None) -> PlainJson:
    """The adapter of a name, with what is joined and sent; InputError where there is none."""
    if name not in ADAPTERS:
        raise InputError(f"--adapter '{name}': no such adapter{nearest(name, ADAPTERS)}")
    return ADAPTERS[name](join, send)


def filled(template: str, room: int, user: int, text: str = "") -> str:
    """A template with its places filled."""
    return template.replace("{room}", str(room)).replace("{user}", str(user)).replace("{text}", text)


def text_of(number: int, size_bytes: int) -> str:
    """The text of a message: its mark, and as much as is needed for its size.

    >>> len(text_of(12, 100)), numbers_in(text_of(12, 100).encode())
    (100, [12])
    """
    return f"chatsim-{number}-".ljust(size_bytes, "x")


def numbers_in(frame: bytes) -> list[int]:
    """The numbers of the messages that a frame brings.

    >>> numbers_in(b'[{"text":"chatsim-7-xx"},{"text":"chatsim-8-xx"}]'), numbers_in(b'{"type":"welcome"}')
    ([7, 8], [])
    """
    return [int(number) for number in MARK.findall(frame)]
