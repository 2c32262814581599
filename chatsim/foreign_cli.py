"""``calibrate --command``: what any server costs, as a profile for scenarios."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chatsim.options import print_json

if TYPE_CHECKING:
    from chatsim.live.foreign_costs import Costs, Plan

EXAMPLE = """\
Another server, for example one of Socket.IO: server.js listens on port 3000, knows the events 'join' with a room and
'message' with {room, text}, and emits these to the room.

\b
  chatsim calibrate --command "node server.js" --adapter socketio \\
      --url ws://127.0.0.1:3000 --out mine.toml
  chatsim run room-channel --costs mine.toml

A server of plain JSON gets {"type":"join","room":"3"} and {"type":"message","room":"3","text":"..."}, and writes the
text to all others in the room, in any form. --join and --send say it where events or frames look otherwise.
"""

Command = Annotated[
    str | None, typer.Option("--command", metavar="COMMAND", help="Measure another server: what starts it.")
]
AdapterName = Annotated[
    str | None, typer.Option("--adapter", metavar="NAME", help="How it is spoken to: json (the default) or socketio.")
]
Url = Annotated[
    str | None, typer.Option("--url", metavar="URL", help="Where it listens: ws://127.0.0.1:PORT, with its path.")
]
Join = Annotated[
    str | None,
    typer.Option("--join", metavar="JSON", help="How a client joins a room, with {room} and {user}; '': it need not."),
]
Send = Annotated[
    str | None, typer.Option("--send", metavar="JSON", help="How it sends a message, with {room} and {text}.")
]
StartsWithin = Annotated[
    float, typer.Option("--starts-within-s", min=0.1, metavar="S", help="How long it may take until it listens.")
]
AllowRemoteUrl = Annotated[
    bool, typer.Option("--allow-remote", help="Let --url name another machine, which gets the load.")
]


@dataclass(frozen=True, slots=True)
class Said:
    """The options that concern a server of somebody else, as they were given."""

    command: str | None
    adapter: str | None
    url: str | None
    join: str | None
    send: str | None
    within_s: float
    allow_remote: bool

    def plan(self, repeats: int) -> Plan | None:
        """What is to be measured; None: the twin. InputError where the options do not fit together."""
        from chatsim.live.adapters import adapter_of
        from chatsim.live.foreign import FORM, address_of, refuse_unknown
        from chatsim.live.foreign_costs import Plan
        from chatsim.scenario import InputError

        if self.command is None:
            given = {"--adapter": self.adapter, "--url": self.url, "--join": self.join, "--send": self.send}
            for option, value in given.items():
                if value is not None:
                    raise InputError(f"{option} '{value}': is of a server that --command starts, which is missing")
            return None
        adapter = adapter_of(self.adapter or "json", self.join, self.send)
        if self.url is None:
            raise InputError(f"--command '{self.command}': where does it listen? --url {FORM} is needed")
        address = address_of(self.url, adapter.resource, self.allow_remote)
        refuse_unknown(self.command)
        return Plan(self.command, address, adapter, repeats, within_s=self.within_s)

    def again(self, repeats: int) -> str:
        """The command line that does it again."""
        given = [("--command", self.command), ("--adapter", self.adapter), ("--url", self.url), ("--join", self.join),
                 ("--send", self.send), ("--repeats", str(repeats))]  # fmt: skip
        return " ".join(["chatsim calibrate", *(f"{key} {shlex.quote(one)}" for key, one in given if one is not None)])


def calibrate_command(said: Said, plan: Plan, target: Path | None, as_json: bool) -> None:
    """Measures a server, writes its profile where that was asked for, and says what it costs."""
    from chatsim.live.foreign_costs import costs_of, measure
    from chatsim.live.foreign_profile import to_profile
    from chatsim.report import terminal
    from chatsim.study.files import write_whole

    with terminal.progress("calibrate") as bar:
        live = None if bar is None else (lambda done, name: bar(0.9 * done, 1, name))
        fits = None if bar is None else (lambda done, name: bar(0.9 + 0.1 * done, 1, name))
        found = costs_of(measure(plan, live), fits)
    if target is not None:
        write_whole(target, to_profile(found, plan, said.again(plan.repeats)))
    if as_json:
        whole = {"median_error": found.error, "cores_most": found.cores_most}
        print_json({"costs": found.rows(), **whole, "runs": found.points()})
        return
    _show(found)
    if target is not None:
        typer.echo(f"Written to {target}. Next: chatsim run room-channel --costs {target}")


def _show(found: Costs) -> None:
    from chatsim.report import terminal

    console = terminal.console()
    table = terminal.table_of("Costs of this server", ["key", "value", "low", "high", "unit"], left=("key", "unit"))
    for row in found.rows():
        numbers = [terminal.number(float(str(row[name]))) for name in ("value", "low", "high")]
        table.add_row(f"{row['part']}.{row['key']}", *numbers, str(row["unit"]))
    console.print(table)
    late_ms = max(one.found.late_ms for one in found.runs)
    for line in (
        f"Median error of the fit: {100 * found.error:.0f} % of the CPU time; {len(found.runs)} runs. The server kept "
        f"up to {found.cores_most:.2f} cores busy; the load client was late by up to {late_ms:.2g} ms at p90.",
        "receive_us holds all that it does with a message but the writing to others. Commands to a broker, TLS and "
        "tokens are not in it: they stay as the design has them.",
    ):
        console.print(line, markup=False)
