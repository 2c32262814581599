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
# # Who is away: after how many minutes should a push be sent?
#
# **Question.** A message for somebody without a session waits in store. A push brings some people back; but many
# would have come anyway, and a push for somebody who has just read everything annoys. After how many minutes *n*
# should it be sent?
#
# **Method.** The same hours of messages with pushes after 0 to 30 minutes: same people, same luck, only *n*
# differs. We count pushes, those that were wasted, and how long until a message is read. The conclusion is
# computed from the runs.

# %%
# %matplotlib inline
import pandas as pd
from IPython.display import Markdown

from chatsim import analysis, charts, compare, load_scenario

pd.options.display.float_format = "{:,.4g}".format

# %% [markdown]
# ## Six designs that differ in n
#
# `hub` is one process without a broker: what happens to people who are away does not depend on the routing, and
# this keeps the runs short. A push brings its user back with a chance of 30 % (`push.return_share`, an
# assumption).

# %%
MINUTES = [0, 1, 2, 5, 10, 30]
designs = [
    load_scenario(
        "hub",
        [
            f"name=after {n} min",
            "design.store=before",
            "design.offline=push",
            f"push.after_min={n}",
            "workload.users=500",
            "workload.duration_s=7200",
            "workload.start_hour=19.0",
        ],
    )
    for n in MINUTES
]
runs = compare(designs, jobs=2)

# %%
rows = []
for n, outcome in zip(MINUTES, runs.outcomes.values(), strict=True):
    pushed, read = analysis.pushes(outcome), analysis.time_to_read(outcome).set_index("how")
    rows.append(
        {
            "n_min": n,
            "pushes": pushed["due"],
            "brought_back": pushed["brought_back"],
            "wasted_percent": 100 * pushed["wasted_share"],
            "worth_percent": 100 * pushed["brought_back_share"],
            "read_later_p50_min": read.loc["later", "p50_s"] / 60,
            "read_p90_min": read.loc["either way", "p90_s"] / 60,
            "unread_share": 1 - read.loc["either way", "count"] / outcome.messages["recipients"].sum(),
        }
    )
table = pd.DataFrame(rows).infer_objects()
table.set_index("n_min")

# %% [markdown]
# `wasted_percent`: pushes that came when everything was read or the user was connected. `read_later_p50_min`: for
# what was not delivered live, the time until half of it was read.

# %%
charts.lines(
    table,
    "n_min",
    ["wasted_percent", "worth_percent"],
    said=("What becomes of pushes", "n: minutes until a push is sent", "share of pushes (%)"),
)

# %%
charts.lines(
    table,
    "n_min",
    "read_later_p50_min",
    said=("How long those who were away leave a message unread", "n: minutes until a push is sent", "median (min)"),
)

# %% [markdown]
# ## Conclusion

# %%
by = table.set_index("n_min")
soonest, latest = by.iloc[0], by.iloc[-1]
saved = 100 * (1 - by["pushes"] / soonest["pushes"])
later = by["read_later_p50_min"] - soonest["read_later_p50_min"]
WASTED_MOST_PERCENT = 5.0
few_wasted = by.index[by["wasted_percent"] <= WASTED_MOST_PERCENT]
advised = int(few_wasted.min()) if len(few_wasted) else int(by["wasted_percent"].idxmin())

Markdown(
    f"""
1. **Waiting saves pushes**: after 5 minutes {saved[5]:.0f} % fewer are sent than at once, after 30 minutes
   {saved[30]:.0f} %.
2. **And costs time**: those who were away read half of their messages {later[5]:.1f} min later with n = 5,
   and {later[30]:.1f} min later with n = 30.
3. **Pushes are wasted** in {soonest["wasted_percent"]:.0f} % of cases when sent at once,
   {by.loc[5, "wasted_percent"]:.0f} % after 5 minutes and {latest["wasted_percent"]:.0f} % after 30.
4. **Take n = {advised} min** if at most {WASTED_MOST_PERCENT:g} % may be wasted: it is the soonest that
   keeps to that, with {by.loc[advised, "pushes"]:,.0f} pushes and half of the waiting messages read after
   {by.loc[advised, "read_later_p50_min"]:.1f} min. A later one sends fewer, and lets people wait longer.
"""
)

# %% [markdown]
# What this does not say: how many people come back for a push is an assumption, and so is how long their sessions
# are; put in your own (`push.return_share`, `push.session_s`). That 75 % of inattentive spells end within five
# minutes is published (see `chatsim new`). The sliders of `chatsim.explore(designs[3])` ask the same with a
# mouse.
