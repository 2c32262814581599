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
# # Rooms and privacy: who reads what was not meant for them?
#
# **Question.** A private message can be broadcast in three places: in a room of its own pair, in the personal
# room of its recipient, or in the smallest group that both are in. And a server may let anybody write, or ask
# whether they are friends, or look for a scope in their token. Who reads messages that were not meant for them,
# and what does it cost to prevent it?
#
# **Method.** The same hour of messages goes through all nine combinations. One user in five is an intruder, who
# tries to get into rooms, and ties end often: far more than in life, so that there is something to count. The
# conclusion is computed from the runs: change a number, run all cells, and it follows.

# %%
# %matplotlib inline
import pandas as pd
from IPython.display import Markdown

from chatsim import charts, load_scenario, who_reads

pd.options.display.float_format = "{:,.3g}".format

# %% [markdown]
# ## The design under review
#
# `go-chat` with 500 users, on an hour of the evening. Clients may ask to join rooms (`access.client_joins`), as
# some frameworks let them; intruders use that.

# %%
design = load_scenario(
    "go-chat",
    [
        "workload.users=500",
        "workload.duration_s=3600",
        "workload.start_hour=19.0",
        "workload.intruders.share=0.2",
        "workload.relations.ends_per_day=10.0",
        "access.client_joins=true",
    ],
)
design

# %% [markdown]
# ## Nine runs on one trace

# %%
table = who_reads(design, jobs=2)
table.set_index(["rooms", "access"])[
    ["private", "overheard", "listeners_mean", "tried", "entered", "crossed", "lag_s_max", "relation_reads"]
]

# %% [markdown]
# `overheard`: private messages that reached somebody else's session. `entered`: intruders who got in. `crossed`:
# messages that passed although their tie had ended; `lag_s_max` is the longest time that took to be noticed.
# `relation_reads` is what asking costs the database.

# %%
charts.who_reads_chart(table)

# %% [markdown]
# ## Conclusion

# %%
by = table.set_index(["rooms", "access"])
by_rooms = table.groupby("rooms", sort=False)[["private", "overheard", "by_intruders"]].sum()
share = ((by_rooms["overheard"] - by_rooms["by_intruders"]) / by_rooms["private"]).to_dict()
quiet = [rooms for rooms, part in share.items() if part == 0]
by_access = table.groupby("access", sort=False)[
    ["tried", "entered", "crossed", "relation_reads", "private", "by_intruders"]
].sum()
entered = by_access["entered"] / by_access["tried"]
safest = (entered + by_access["crossed"] / by_access["private"]).idxmin()
reads = by_access["relation_reads"] / by_access["private"]
lag_s = by.xs("scopes", level="access")["lag_s_max"].max()
leaks = ", ".join(f"{rooms} rooms {100 * part:.1f} %" for rooms, part in share.items())
advice = f"Take {' or '.join(quiet)} rooms." if quiet else "No kind of room keeps all to itself."


def by_policy(values: pd.Series, form: str = ",.0f") -> str:
    """A figure of each access policy."""
    return ", ".join(f"{policy} {value:{form}}" for policy, value in values.items())


Markdown(
    f"""
1. **Where a message is broadcast decides who overhears it**, whatever the access policy. Without any
   intruder, of private messages {leaks} reach somebody for whom they were not meant. {advice}
2. **Access decides who gets in.** Of {int(by_access["tried"].max())} tries of intruders with each policy
   succeed: {by_policy(entered, ".0%")}. So many messages they overhear:
   {by_policy(by_access["by_intruders"])}.
3. **Who was a friend may write on for a while**: messages across a tie that had ended:
   {by_policy(by_access["crossed"])}. With scopes an end is noticed when the token is renewed, here after at
   most {lag_s / 60:.0f} minutes.
4. **Asking costs reads of the database**: {by_policy(reads, ".2f")} per private message. Of the three,
   `{safest}` lets fewest through.
"""
)

# %% [markdown]
# What this does not say: how often somebody tries (`workload.intruders.share`) and how often ties end
# (`workload.relations.ends_per_day`) are choices, so the shares count, not the numbers. Messages to groups are
# not checked beyond membership. The same on the command line: `chatsim who-reads go-chat --set
# access.client_joins=true`.
