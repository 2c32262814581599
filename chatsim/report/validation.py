"""The simulator held to theory, to published results and to live runs, on a terminal and as files."""

from __future__ import annotations

import math
import shutil
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chatsim.report.terminal import number, table_of

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from chatsim.scenario import Scenario
    from chatsim.study.laws import Check
    from chatsim.study.published import Published

FIGURES = {"p50_ms": "p50", "p90_ms": "p90", "p99_ms": "p99", "gateway_cores": "gateways", "broker_cores": "broker"}


def show_theory(checks: Sequence[Check], out: Console) -> None:
    """A row per closed form: what it has, what was simulated, and the difference in standard errors."""
    table = table_of("Theory", ["case", "unit", "closed form", "simulated", "z", ""], left=("case", "unit", ""))
    for check in checks:
        verdict = "holds" if check.holds else "does not hold"
        values = (number(check.expected), number(check.measured), f"{check.z:+.2f}")
        table.add_row(check.name, check.unit, *values, verdict)
    out.print(table)
    out.print("z: the difference in standard errors, of ten runs each.", highlight=False)


def show_published(rows: Sequence[Published], out: Console) -> None:
    """A row per figure: published, ours, the difference, and why where it is large."""
    headers = ["system", "figure", "unit", "published", "here", "", "why"]
    table = table_of("Published results", headers, left=("system", "figure", "unit", "", "why"))
    for row in rows:
        here = "-" if row.here != row.here else number(row.here)
        why = "" if row.verdict == "reproduced" else row.why
        table.add_row(row.system, row.figure, row.unit, number(row.published), here, row.verdict, why)
    out.print(table)
    modelled = [row for row in rows if row.verdict != "not modelled"]
    near = sum(row.verdict == "reproduced" for row in modelled)
    out.print(f"{near} of {len(modelled)} figures that can be modelled are reproduced within 15 %.", highlight=False)


def show_live(tables: Mapping[str, pd.DataFrame], out: Console) -> None:
    """Errors by point, then by figure, with the measurement's own spread beside them; and what else was measured."""
    points = tables["points"]
    _show_points(points, out)
    _show_summary(tables["summary"], out)
    first = points.drop_duplicates("point")
    out.print(
        f"{int(first['discarded'].sum())} runs were discarded because the machine was disturbed, and "
        f"{int(first['disturbed'].sum())} of {int(first['repeats'].sum())} count although it was.", highlight=False,
    )  # fmt: skip
    if "saturation" in tables:
        _show_saturation(tables["saturation"], out)
    if "faults" in tables:
        _show_faults(tables["faults"], out)
    for row in tables["order"].to_dict("records") if "order" in tables else ():
        out.print(
            f"Order of the routings by {FIGURES[row['figure']]}, predicted | measured: Kendall's tau {row['tau']:.2f} "
            f"of {row['told_apart']} of {row['pairs']} pairs, those whose measured ranges do not overlap.",
            highlight=False,
        )  # fmt: skip


def _show_points(points: pd.DataFrame, out: Console) -> None:
    table = table_of(
        "Error in % (± half the range of the measurement)", ["point", "load %", *FIGURES.values()], left=("point",)
    )
    for point, part in points.groupby("point", sort=False):
        rows = {str(row["figure"]): row for row in part.to_dict("records")}
        cells = [_error(float(rows[name]["error"]), float(rows[name]["spread"])) for name in FIGURES]
        table.add_row(str(point), f"{100 * float(part['load'].iloc[0]):.0f}", *cells)
    out.print(table)


def _show_summary(summary: pd.DataFrame, out: Console) -> None:
    headers = ["figure", "points", "median error %", "largest %", "measurement %"]
    table = table_of("All points", headers, left=("figure",))
    for row in summary.to_dict("records"):
        shares = (row["median_error"], row["largest_error"], row["median_spread"])
        numbers = [number(100 * float(share)) for share in shares]
        table.add_row(FIGURES[str(row["figure"])], str(row["points"]), *numbers)
    out.print(table)


def _show_saturation(saturation: pd.DataFrame, out: Console) -> None:
    """Predicted and measured, with the bounds of the estimate."""
    headers = [
        "design", "predicted\n/s", "measured\n/s", "error %", "estimate\nidle", "estimate\nfull", "gateways\ncores",
        "broker\ncores", "binds",
    ]  # fmt: skip
    table = table_of("Saturation, in messages per second", headers, left=("design", "binds"))
    for row in saturation.to_dict("records"):
        found = not math.isnan(row["measured"])
        names = ("estimate_no_batches", "estimate_full_batches", "gateway_cores", "broker_cores")
        table.add_row(
            str(row["design"]), number(float(row["predicted"])),
            number(float(row["measured"])) if found else f"> {number(float(row['at_least']))}",
            _error(float(row["error"]), float(row["spread"])), *[number(float(row[name])) for name in names],
            str(row["binds"]) + ("" if row["binds"] == row["predicted_binds"] else f" ({row['predicted_binds']})"),
        )  # fmt: skip
    out.print(table)
    error = saturation["error"].abs().dropna()
    words = "no design was saturated" if error.empty else f"median error {100 * error.median():.0f} % of {len(error)}"
    out.print(
        "Saturation: of a load that is too much, messages over the time until the last of them was there; "
        f"{words}. The estimate has a bound without batches (idle) and one with full ones. In brackets what binds in "
        "the prediction; where every load that was too much was disturbed, by a late load client or by others, there "
        "is only a load that was carried.",
        highlight=False,
    )


def _show_faults(faults: pd.DataFrame, out: Console) -> None:
    """Predicted and measured, figure by figure."""
    names = {"live_share": "live %", "late_share": "later %", "lost_share": "lost %", "broken_s": "not live\nuntil s",
             "back_s": "all back\nafter s"}  # fmt: skip
    table = table_of("Faults: predicted | measured (± half the range)", ["what", *names.values()], left=("what",))
    for struck, part in faults.groupby("struck", sort=False):
        rows = {str(row["figure"]): row for row in part.to_dict("records")}
        table.add_row(str(struck), *[_both(rows[name]) for name in names])
    out.print(table)
    shares = faults[faults["unit"] == "%"]["difference"].abs()
    out.print(
        f"Of messages x recipients; shares are off by {number(float(shares.median()))} points (median), at most "
        f"{number(float(shares.max()))}. How long Redis was away is measured, not predicted.", highlight=False,
    )  # fmt: skip


def _both(row: Mapping[Hashable, float]) -> str:
    """Predicted and measured."""
    if math.isnan(row["measured"]) and math.isnan(row["predicted"]):
        return "-"
    spread = f" ±{row['spread']:.2g}" if row["spread"] > 0 else ""
    return f"{number(float(row['predicted']))} | {number(float(row['measured']))}{spread}"


def _error(error: float, spread: float) -> str:
    """An error in percent, with the spread of the measurement.

    >>> _error(0.123, 0.04), _error(float("nan"), 0.04)
    ('+12 ±4', '-')
    """
    return "-" if math.isnan(error) else f"{100 * error:+.0f} ±{100 * spread:.0f}"


def write_live(
    folder: Path,
    tables: Mapping[str, pd.DataFrame],
    scenarios: tuple[Scenario, ...],
    repeats: int,
    command: list[str],
) -> None:
    """Tables as Parquet, scenarios and provenance, into the folder where the runs stand."""
    from chatsim.report.decisions import Written

    shutil.rmtree(folder / "scenarios", ignore_errors=True)
    Written(folder, command).finish(tables, scenarios, repeats)
