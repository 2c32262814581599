"""A small chat server on python-socketio and aiohttp. ``python socketio_server.py PORT``"""

from __future__ import annotations

import sys
from typing import Any

import socketio
from aiohttp import web

chat = socketio.AsyncServer(async_mode="aiohttp", ping_timeout=3600)  # a machine may stand still for a while


@chat.event
async def join(sid: str, room: str) -> None:
    """A client comes into a room."""
    await chat.enter_room(sid, room)


@chat.event
async def message(sid: str, said: dict[str, Any]) -> None:
    """A message goes to all in its room, its sender among them."""
    await chat.emit("message", said, room=said["room"])


if __name__ == "__main__":
    app = web.Application()
    chat.attach(app)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
