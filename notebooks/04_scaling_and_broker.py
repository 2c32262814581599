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
# # Scaling out: how far do more gateways and more broker nodes carry?
#
# **Question.** The chat has outgrown one machine. Gateways can be added at will; Redis can be one node, a classic
# cluster, or shards. What carries most, what stops it, and when does one more machine no longer help?
#
# **Method.** `estimate` answers without a run which tier binds for 1 to 32 gateways under four routings. Then
# load tests at rising rates measure what a broker of one node, a cluster of three and three shards carry, in the
# same rooms. The conclusion is computed from these.

# %%
# %matplotlib inline
import pandas as pd
from IPython.display import Markdown

from chatsim import charts, estimate, explore, load_scenario, saturation

pd.options.display.float_format = "{:,.4g}".format

# %% [markdown]
# ## More gateways, without a run
#
# 100,000 users; messages are kept in Redis (`design.store_in=broker`), so that the database is not what binds.
# Load factor 3 means: three times these users.

# %%
ROUTINGS = ["user", "room", "global", "directory"]
GATEWAYS = [1, 2, 4, 8, 16, 32]
rows = []
for routing in ROUTINGS:
    for gateways in GATEWAYS:
        needs = estimate(
            load_scenario(
                "go-chat",
                [
                    "design.store_in=broker",
                    "workload.users=100_000",
                    f"design.routing={routing}",
                    f"design.gateways={gateways}",
                ],
            )
        )
        carries = needs.demand.messages_per_s * needs.binding.load_factor
        rows.append(
            {"routing": routing, "gateways": gateways, "messages_per_s": carries, "binds": needs.binding.name}
        )
scaled = pd.DataFrame(rows)
scaled.pivot(index="gateways", columns="routing", values="binds")[ROUTINGS]

# %%
charts.lines(
    scaled,
    "gateways",
    "messages_per_s",
    "routing",
    said=("What each routing carries, by arithmetic", "gateways", "messages/s"),
    log="xy",
)

# %% [markdown]
# ## More broker nodes, simulated
#
# One channel per room (`room-channel`), eight gateways, nothing stored, so that the broker is what is tested. A
# classic cluster sends every PUBLISH on to all its nodes; a shard knows only its own channels. While a design
# keeps up it lies on the diagonal; hollow marks are overloaded.

# %%
common = [
    "design.gateways=8",
    "design.store=never",
    "design.offline=drop",
    "workload.users=2000",
    "workload.duration_s=120",
    "broker.publish_us=20",
    "broker.push_us=20",
    "broker.bus_send_us=20",
    "broker.bus_receive_us=20",
]
brokers = [
    load_scenario("room-channel", [*common, f"name={name}", f"broker.topology={kind}", f"broker.nodes={nodes}"])
    for name, kind, nodes in (("one node", "single", 1), ("cluster of 3", "cluster", 3), ("3 shards", "sharded", 3))
]
curves = saturation(brokers, messages=600, points=4, jobs=2)
by_broker = dict(list(curves.groupby("design", sort=False)))
charts.saturation_curve(by_broker, "One Redis, a cluster, shards")

# %% [markdown]
# Redis is slowed down here (20 us for each PUBLISH, push and bus message, ten times and more what it takes), so
# that few messages fill it. All three pay the same, so what counts is how they compare.

# %% [markdown]
# ## With a mouse
#
# In JupyterLab: the estimate answers at once, the simulation follows when the sliders rest. It starts from 2,000
# users; what is found can be saved as a scenario file.

# %%
explore(load_scenario("go-chat", ["workload.users=2000"]))

# %% [markdown]
# ## Conclusion

# %%
last = scaled[scaled["gateways"] == max(GATEWAYS)].set_index("routing")["messages_per_s"]
first = scaled[scaled["gateways"] == min(GATEWAYS)].set_index("routing")["messages_per_s"]
useless = {}
for routing, part in scaled.groupby("routing", sort=False):
    gains = part.set_index("gateways")["messages_per_s"].pct_change()
    useless[routing] = next((int(at) for at, gain in gains.items() if gain < 0.05), None)
carried = {name: part.loc[~part["overloaded"], "carried_per_s"].max() for name, part in by_broker.items()}
one, cluster, shards = (carried[name] for name in ("one node", "cluster of 3", "3 shards"))
advice = "**Shard, do not cluster**, when Redis binds." if shards > 1.2 * cluster else "**Neither is clearly better.**"
stops = ", ".join(
    f"`{routing}` {f'at {at} gateways' if at else f'not up to {max(GATEWAYS)}'}" for routing, at in useless.items()
)

Markdown(
    f"""
1. **With {max(GATEWAYS)} gateways `{last.idxmax()}` carries most**: {last.max():,.0f} messages/s,
   {last.max() / last.min():.1f} times what `{last.idxmin()}` does. With one gateway it is `{first.idxmax()}`.
2. **One gateway more stops to help** (less than 5 % for twice as many): {stops}. From there the broker, or
   the work that each gateway does for every message, binds.
3. **A classic cluster of three carries {cluster / one:.2f} times what one node does; three shards carry
   {shards / one:.2f} times**: in a cluster every node works on every message.
4. {advice}
"""
)

# %% [markdown]
# What this does not say: shards help only as far as rooms are many and none is hot; a room of its own size is one
# channel, and stays on one shard. What Redis costs is measured (`data/reference/costs.csv`); what gateways in Go
# cost is an assumption. `chatsim capacity go-chat --find gateways --slo "p99_ms<200"` finds the number for an
# SLO.
