"""A small chat server as the plain JSON adapter expects it, on asyncio and websockets.

``python json_server.py PORT``. For tests it may burn CPU time per message and per delivery, as all servers do, but a
known one (``--message-us``, ``--delivery-us``), and misbehave (``--die-after``, ``--deaf``, ``--child``).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import time

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed


def burn(spent_us: float) -> None:
    """Uses so much CPU time, however long that takes."""
    until_s = time.thread_time() + 1e-6 * spent_us
    while time.thread_time() < until_s:
        pass


class Chat:
    """Rooms, and who is in them."""

    def __init__(self, said: argparse.Namespace) -> None:
        self.said = said
        self.rooms: dict[str, set[ServerConnection]] = {}
        self.messages = 0

    async def client(self, socket: ServerConnection) -> None:
        """One client, until it goes."""
        mine: set[str] = set()
        await socket.send('{"type":"welcome"}')
        try:
            async for frame in socket:
                asked = json.loads(frame)
                if asked["type"] == "join":
                    self.rooms.setdefault(asked["room"], set()).add(socket)
                    mine.add(asked["room"])
                elif asked["type"] == "message" and asked["room"] in mine and not self.said.deaf:
                    await self.pass_on(socket, asked)
        except ConnectionClosed:
            pass
        finally:
            for room in mine:
                self.rooms[room].discard(socket)

    async def pass_on(self, sender: ServerConnection, asked: dict[str, str]) -> None:
        """A message goes to all others in its room."""
        self.messages += 1
        if self.messages == self.said.die_after:
            print("out of luck", file=sys.stderr, flush=True)
            os._exit(3)
        burn(self.said.message_us)
        for other in self.rooms[asked["room"]] - {sender}:
            burn(self.said.delivery_us)
            await other.send(json.dumps({"type": "message", "room": asked["room"], "text": asked["text"]}))


async def main(said: argparse.Namespace) -> None:
    """Serves until it is told to end."""
    if said.child:  # one that goes off into a session of its own and listens to nothing
        subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)",
                          said.child], start_new_session=True)  # fmt: skip
    if said.mute:
        print("the database does not answer", file=sys.stderr, flush=True)
        await asyncio.sleep(600)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with serve(Chat(said).client, "127.0.0.1", said.port, compression=None, ping_interval=None, open_timeout=None):
        await ended.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    for name in ("--message-us", "--delivery-us"):
        parser.add_argument(name, type=float, default=0.0)
    parser.add_argument("--die-after", type=int, default=0)
    parser.add_argument("--deaf", action="store_true")
    parser.add_argument("--mute", action="store_true")
    parser.add_argument("--child", default="")
    asyncio.run(main(parser.parse_args()))
