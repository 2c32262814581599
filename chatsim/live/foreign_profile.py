"""The costs of a server that is none of ours as a profile in TOML, with where they come from."""

from __future__ import annotations

import os
import platform
import subprocess
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from chatsim.live.foreign import words_of
from chatsim.live.foreign_costs import Costs, Plan
from chatsim.live.processes import cores

TELL_THEIR_VERSION = ("bun", "deno", "elixir", "java", "node", "php", "python", "ruby")
ANSWERS_WITHIN_S = 5.0


def to_profile(found: Costs, plan: Plan, said: str) -> str:
    """The profile. Only what was measured is in it, and the one event loop by which it was explained: commands to a
    broker, TLS and tokens keep the costs of the design that it is laid over."""
    day, own = datetime.now(UTC).date().isoformat(), max(1, len(cores()[0]))
    by = ", ".join(filter(None, (version_of(plan.command), f"chatsim {version('chatsim')}")))
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, of which the server had {own}"
    lines = [
        f"# {' '.join(plan.command.split())}",
        f"# measured by: {' '.join(said.split())}",
        f"# {day}: {by}; {machine};",
        f"# {len(found.runs)} runs of {plan.seconds:g} s, each load {plan.repeats} times. Median error of the fit: "
        f"{100 * found.error:.0f} % of the CPU time.",
        f"# One event loop is assumed; it kept up to {found.cores_most:.2f} cores busy.",
        "# receive_us holds all that it does with a message but the writing to others, its own routing among it.",
        f"# A hop on loopback took {found.hop.value:.3g} ms ({found.hop.low:.3g} to {found.hop.high:.3g}); the network "
        "is the design's.",
        "[gateway]",
        "cores = 1",
        "batch_max = 0",
        'flush = "item"',
    ]
    for key, one in found.gateway.items():
        lines.append(f"{key} = {one.value:.6g}  # measured: 95 % {one.low:.3g} to {one.high:.3g}")
    return "\n".join(lines) + "\n"


def version_of(command: str) -> str:
    """What the program of a command says of its version, where it is one of which it is known that it does.

    >>> version_of("python3 server.py").startswith("Python 3."), version_of("./server --port 1")
    (True, '')
    """
    program = words_of(command)[0]
    name = Path(program).name.rstrip("0123456789.")
    if name not in TELL_THEIR_VERSION:
        return ""
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(
            [program, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            timeout=ANSWERS_WITHIN_S, check=False,
        )  # fmt: skip
        line = (done.stdout or done.stderr).strip().partition("\n")[0]
        return line if name in line.lower() or not line else f"{name} {line}"
    return ""
