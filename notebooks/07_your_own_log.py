# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: -all
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Your own log: import it, fit the model to it, and ask what if
#
# **Question.** We have a log of who wrote to whom and when. Can the simulator be fed with it, does its model of
# behaviour say the same as the log, and what happens when ten times as many people behave like ours?
#
# **Method.** A log is replayed as it is: the messages of the run are those of the log. Then the behaviour model
# is fitted to it, which makes worlds of any size. The log here is made up, and written by the next cells; put the
# path of your own in its place.

# %%
# %matplotlib inline
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import Markdown

from chatsim import analysis, charts, estimate, fit, load_scenario, run

pd.options.display.float_format = "{:,.4g}".format
folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## A log: time, sender, recipient
#
# 60 people over 14 days; each writes mostly to the few whom they know, in the evening, and gets replies.

# %%
draw = np.random.default_rng(7)
people = [f"p{number:02}" for number in range(60)]
known = {person: draw.choice([other for other in people if other != person], 6, replace=False) for person in people}
rows = []
for _ in range(1400):
    one = people[min(int(draw.pareto(1.2) * 4), len(people) - 1)]
    other = known[one][min(int(draw.exponential(1.2)), 5)]
    at_s = draw.integers(14) * 86400 + np.clip(draw.normal(20, 2.5), 0, 23.9) * 3600
    for turn in range(1 + draw.poisson(2)):
        rows.append((at_s, *((one, other) if turn % 2 == 0 else (other, one))))
        at_s += draw.lognormal(np.log(60), 1.0)
log = pd.DataFrame(rows, columns=["time", "sender", "recipient"]).sort_values("time")
log["time"] = pd.Timestamp("2025-03-03") + pd.to_timedelta(log["time"].round(), unit="s")
log.to_csv(folder / "log.csv", index=False)
log.head()

# %% [markdown]
# ## Replay
#
# What was read, dropped and taken to be is said, so that nothing is taken on trust.

# %%
own = f'workload.trace="{folder / "log.csv"}"'
replay = run(load_scenario("go-chat", [own, "workload.duration_s=0.0", "name=our log", "presence.show_to=none"]))
for line in replay.trace:
    print(line)
replay

# %% [markdown]
# ## Fit
#
# The model's keys are set so that its worlds have the figures of the log. `difference` is in percent, of shares
# in points.

# %%
fitted = fit(load_scenario("go-chat", [own, "workload.duration_s=0.0"]))
fitted.table[fitted.table["fitted"]][["figure", "meaning", "real", "model", "difference"]]

# %%
shown = fitted.table[fitted.table["fitted"] & fitted.table["difference"].notna()]
charts.bars(shown, "figure", "difference", title="The model against the log", label="difference (% or points)")

# %% [markdown]
# ## What if there are ten times as many?
#
# The fitted model with 10 times the users, on the same four gateways.

# %%
behaviour = fitted.scenario.workload
users = behaviour.users
grown = [
    load_scenario("go-chat", [f"name={factor} x", "presence.show_to=none"]).model_copy(
        update={"workload": behaviour.model_copy(update={"users": factor * users, "duration_s": 2 * 86400.0})}
    )
    for factor in (1, 10)
]
needs = [estimate(one) for one in grown]
outcomes = {one.name: run(one).outcome for one in grown}
charts.latency_by_percentile({name: analysis.latency_ms(outcome) for name, outcome in outcomes.items()})

# %% [markdown]
# ## Conclusion

# %%
kept = replay.outcome.world.report
apart = shown.set_index("figure")["difference"].abs()
worst, lost = apart.max(), replay.summary["lost_share"].iloc[0]
advice = (
    "Trust it for load; look at the table before trusting it for anything that hangs on that figure."
    if worst > 10
    else "It may stand for the log."
)
written = [len(outcome.messages["time_s"]) for outcome in outcomes.values()]
now, later = (float(np.quantile(analysis.latency_ms(outcome), 0.5)) for outcome in outcomes.values())

Markdown(
    f"""
1. **The log can be used**: of {kept.read:,} rows {kept.kept:,} were taken, and replayed on `go-chat` with a
   p50 of {replay.summary["p50_ms"].iloc[0]:.1f} ms; {lost:.2%} of messages x recipients were lost.
2. **The model says the same** within {apart.median():.2g} for half of its {len(apart)} figures; the worst
   is `{apart.idxmax()}`, {worst:.3g} off. {advice}
3. **Ten times as many people** bring {written[1] / written[0]:.1f} times the messages, and a p50 of
   {later:.1f} ms instead of {now:.1f} ms:
   {"the servers do not feel it" if later < 1.2 * now else "the servers feel it"}. By arithmetic the
   {needs[1].binding.name} binds, at {needs[1].binding.load_factor:,.0f} times that load.
"""
)

# %% [markdown]
# What this does not say: a log says nothing of sessions; they are inferred from silences (`workload.idle_gap_s`),
# unless a second file gives them (`workload.trace_sessions`). On the command line: `chatsim fit log.csv --out
# ours.toml`, then `chatsim run go-chat --workload ours.toml --set workload.users=100000`.
