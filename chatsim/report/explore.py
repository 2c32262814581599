"""The explorer: sliders beside an estimate that answers at once, and a simulation that follows.

What is seen is computed by :class:`Question`, which knows no widgets; :class:`Explorer` puts it on a page.
"""

from __future__ import annotations

import io
import math
import threading
from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any

from chatsim.analysis import latency_ms, summary
from chatsim.engine import simulate
from chatsim.engine.outcome import Outcome
from chatsim.report.terminal import number
from chatsim.scenario import ROUTINGS, InputError, Scenario, to_toml
from chatsim.scenario.load import validate
from chatsim.theory import Estimate, estimate
from chatsim.world import build_world

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DELIVERIES_MOST, USERS_MOST, DURATION_LEAST_S = 40_000, 8_000, 30.0
USERS = (*(part * 10**power for power in range(2, 7) for part in (1, 2, 3, 5)), 10_000_000)
WAIT_S = 0.4  # so long nothing must move before a simulation starts
LIST_LONGEST, PUSH_LATEST_MIN = 200, 60


@dataclass(frozen=True)
class Question:
    """What the sliders ask: a scenario with some keys changed. Raises InputError where they do not fit together."""

    base: Scenario
    users: int
    gateways: int
    list_limit: int
    routing: str
    push_after_min: float

    @cached_property
    def scenario(self) -> Scenario:
        """The scenario asked for: no list where its limit is 0; pushes only where the design stores for who is away."""
        table = self.base.model_dump()
        table["workload"]["users"] = self.users
        table["design"].update(gateways=self.gateways, routing=self.routing)
        listing = table["friend_list"]
        if self.list_limit:
            listing["limit"] = self.list_limit
            listing["policy"] = "recent" if listing["policy"] in ("none", "all") else listing["policy"]
        elif listing["policy"] != "all":
            listing["policy"] = "none"
            if table["presence"]["show_to"] == "list":
                table["presence"]["show_to"] = "none"
        table["push"]["after_min"] = float(self.push_after_min)
        return validate(table, "explore")

    @cached_property
    def needs(self) -> Estimate:
        """What arithmetic says of it, at once."""
        return estimate(self.scenario)

    @cached_property
    def smaller(self) -> Scenario:
        """What is simulated: the same where that takes seconds, otherwise a shorter run, and then fewer users."""
        workload = self.scenario.workload
        if workload.trace:
            return self.scenario
        demand = self.needs.demand
        users = min(workload.users, USERS_MOST)
        per_s = demand.messages_per_s_mean * max(demand.audience.recipients, 1.0) * users / max(workload.users, 1)
        duration_s = workload.duration_s
        if per_s * duration_s > DELIVERIES_MOST:
            duration_s = max(DELIVERIES_MOST / per_s, min(DURATION_LEAST_S, duration_s))
            users = max(min(users, int(users * DELIVERIES_MOST / (per_s * duration_s))), min(users, 100))
        less = {"users": users, "duration_s": float(math.ceil(duration_s)) if duration_s >= 1 else duration_s}
        return self.scenario.model_copy(update={"workload": workload.model_copy(update=less)})

    @property
    def note(self) -> str:
        """Says where less was simulated than was asked for."""
        asked, done = self.scenario.workload, self.smaller.workload
        if asked.trace or (asked.users == done.users and asked.duration_s == done.duration_s):
            return f"Simulated: {number(done.users)} users, {number(done.duration_s)} s."
        fewer = f"{number(done.users)} of {number(asked.users)} users, " if asked.users != done.users else ""
        load = " The load on servers is that of the smaller number: the estimate above is of all." if fewer else ""
        return f"Simulated, so that it takes seconds: {fewer}{number(done.duration_s)} s.{load}"


def explore(scenario: Scenario) -> Any:
    """Sliders for users, gateways, friends listed, routing and minutes to a push, for JupyterLab.

    The estimate answers at once, the simulation follows when the sliders rest, with its progress; the answer can be
    saved as a scenario file. Needs the extra ``notebook``; InputError says so where it is missing.
    """
    try:
        import ipywidgets
    except ImportError as error:
        raise InputError("explore: ipywidgets is missing: pip install 'chatsim[notebook]'") from error
    return Explorer(scenario, ipywidgets)


class Explorer:
    """The page: ``controls`` by name, ``estimate``, ``progress``, ``said``, ``chart``, and what saves.

    Simulations run in a thread of their own, one at a time; one that is out of date ends at its next step.
    """

    def __init__(self, scenario: Scenario, widgets: Any) -> None:
        self.base, self.widgets = scenario, widgets
        self.first: tuple[str, Outcome] | None = None
        self.asked, self.shown = 0, 0
        self.lock = threading.Condition()
        self.timer: threading.Timer | None = None
        self.running = threading.Lock()
        self.controls = self._controls()
        self.estimate, self.said = widgets.HTML(), widgets.HTML()
        self.progress = widgets.FloatProgress(0.0, max=1.0, description="simulation")
        self.chart = widgets.Image(format="png", layout={"max_width": "100%"})
        self.file = widgets.Text("explored.toml", description="file")
        self.save = widgets.Button(description="Save as scenario")
        self.saved = widgets.HTML()
        self.save.on_click(lambda _: self.saves())
        for control in self.controls.values():
            control.observe(lambda _: self.moved(), names="value")
        self.page = widgets.VBox(
            [
                *self.controls.values(), self.estimate, self.progress, self.said, self.chart,
                widgets.HBox([self.file, self.save]), self.saved,
            ]
        )  # fmt: skip
        self.moved()

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.page._repr_mimebundle_(**options)

    @property
    def question(self) -> Question:
        """What the sliders ask now."""
        asked = {name: control.value for name, control in self.controls.items()}
        return Question(self.base, **asked)

    def moved(self) -> None:
        """The estimate is renewed at once, the simulation when nothing has moved for a moment."""
        with self.lock:
            self.asked += 1
            asked = self.asked
        if self.timer is not None:
            self.timer.cancel()
        question = self.question
        try:
            self.estimate.value = estimate_html(question.needs)
        except InputError as error:
            self.estimate.value = f"<p><strong>{escape(str(error))}</strong></p>"
            self.said.value = ""
            self._done(asked)
            return
        self.timer = threading.Timer(WAIT_S, self._simulate, (question, asked))
        self.timer.daemon = True
        self.timer.start()

    def wait(self, timeout_s: float = 60.0) -> bool:
        """Waits until what the sliders ask has been simulated, or until it is too late; says which."""
        with self.lock:
            return self.lock.wait_for(lambda: self.shown == self.asked, timeout_s)

    def saves(self) -> None:
        """Writes the scenario that the sliders ask for; nothing is overwritten."""
        from chatsim.study.files import free_file, write_whole

        try:
            path = free_file(self.file.value, force=False, option="file")
            write_whole(path, to_toml(self.question.scenario), "file")
            self.saved.value = f"<p>Written: {escape(str(path))}. Next: chatsim run {escape(str(path))}</p>"
        except InputError as error:
            self.saved.value = f"<p><strong>{escape(str(error).replace(', or --force to replace it', ''))}</strong></p>"

    def _controls(self) -> dict[str, Any]:
        widgets, base = self.widgets, self.base
        style = {"style": {"description_width": "11em"}, "layout": {"width": "34em"}}
        listed = base.friend_list.limit if base.friend_list.policy not in ("none", "all") else 0
        users = [(f"{count:,}", count) for count in sorted({*USERS, base.workload.users})]
        return {
            "users": widgets.SelectionSlider(
                options=users, value=base.workload.users, description="users",
                disabled=bool(base.workload.trace), **style,
            ),
            "gateways": widgets.IntSlider(
                base.design.gateways, min=1, max=max(32, base.design.gateways), description="gateways", **style
            ),
            "list_limit": widgets.IntSlider(
                listed, min=0, max=max(LIST_LONGEST, listed), description="friends listed (K)", **style
            ),
            "routing": widgets.Dropdown(
                options=list(ROUTINGS), value=base.design.routing, description="routing", **style
            ),
            "push_after_min": widgets.FloatSlider(
                base.push.after_min, min=0, max=max(PUSH_LATEST_MIN, base.push.after_min), step=1,
                description="push after n minutes", **style,
            ),
        }  # fmt: skip

    def _simulate(self, question: Question, asked: int) -> None:
        with self.running:
            if asked != self.asked:
                return
            self.progress.value = 0.0
            self.said.value = f"<p>{escape(question.note)}</p>"
            try:
                outcome = simulate(question.smaller, build_world(question.smaller), self._progress(asked))
                self._show(question, outcome)
            except _Superseded:
                return
            except (InputError, MemoryError) as error:
                said = str(error) or "out of memory: fewer users are needed"
                self.said.value = f"<p><strong>{escape(said)}</strong></p>"
            self.progress.value = 1.0
            self._done(asked)

    def _progress(self, asked: int) -> Any:
        def told(share: float) -> None:
            if asked != self.asked:
                raise _Superseded
            self.progress.value = share

        return told

    def _show(self, question: Question, outcome: Outcome) -> None:
        if self.first is None:
            self.first = (_said(question), outcome)
        self.chart.value = png(explored_chart(self.first, (_said(question), outcome)))
        self.said.value = outcome_html(outcome) + f"<p>{escape(question.note)}</p>"

    def _done(self, asked: int) -> None:
        with self.lock:
            self.shown = asked
            self.lock.notify_all()


class _Superseded(Exception):  # noqa: N818  # no error: the sliders have moved
    """A simulation that nobody waits for any more."""


def explored_chart(first: tuple[str, Outcome], now: tuple[str, Outcome]) -> Figure:
    """Latency by percentile of what is asked now beside what was asked first, each with its name."""
    from chatsim.report.charts import latency_by_percentile

    shown = dict((first, now))
    return latency_by_percentile({name: latency_ms(outcome) for name, outcome in shown.items()})


def estimate_html(needs: Estimate) -> str:
    """The verdict of an estimate, and how busy each tier is in the busiest hour."""
    rows = "".join(
        f"<tr><th>{escape(tier.name)}</th><td>{100 * tier.utilisation_batched:.3g} %</td>"
        f"<td>full at {escape(number(tier.messages_per_s * tier.load_factor))} messages/s</td></tr>"
        for tier in needs.tiers
    )
    left = f"<p>The estimate leaves out: {escape(', '.join(needs.left_out))}.</p>" if needs.left_out else ""
    return f"<p><strong>{escape(needs.verdict)}</strong></p><table>{rows}</table>{left}"


def outcome_html(outcome: Outcome) -> str:
    """The main figures of a run in a line."""
    row = summary(outcome)
    lost, overloaded = 100 * float(row["lost_share"]), " It is overloaded." if row["overloaded"] else ""
    return (
        f"<p><strong>p50 {number(float(row['p50_ms']))} ms, p99 {number(float(row['p99_ms']))} ms</strong> over "
        f"{number(int(row['deliveries']))} live deliveries; {number(lost)} % of messages x recipients lost; "
        f"busiest tier: {escape(str(row['busiest_tier']))}.{overloaded}</p>"
    )


def png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG."""
    from chatsim.report.style import PNG_DPI, styled

    target = io.BytesIO()
    with styled():
        figure.savefig(target, format="png", dpi=PNG_DPI)
    return target.getvalue()


def _said(question: Question) -> str:
    """A question as a name in the chart."""
    asked = question.scenario
    lists = f", K {question.list_limit}" if question.list_limit else ""
    push = f", n {question.push_after_min:g} min" if asked.design.offline == "push" else ""
    return f"{asked.design.routing}, {question.gateways} gateways, {number(question.users)} users{lists}{push}"
