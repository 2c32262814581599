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
# # Faults and storms: what breaks, and how do clients come back?
#
# **Question.** Half of the gateways die at one moment. What is lost, how long until everybody is back, and which
# way of reconnecting keeps the rest alive? And what if Redis fails over instead?
#
# **Method.** Each run is done with the fault and without it, on the same messages, so that what differs is the
# fault's doing. The auditor explains every message that did not arrive. The conclusion is computed from the runs.

# %%
# %matplotlib inline
import pandas as pd
from IPython.display import Markdown

from chatsim import analysis, charts, compare, fault, load_scenario

pd.options.display.float_format = "{:,.4g}".format
load = ["workload.users=4000", "workload.duration_s=240"]

# %% [markdown]
# ## Half of the gateways die for a minute

# %%
struck = fault(load_scenario("room-channel", load, faults=["half-the-gateways"]), jobs=2)
Markdown(struck.verdict)

# %%
charts.timeline_chart(struck.outcome)

# %% [markdown]
# ## Three ways to come back
#
# `phoenix` tries after 10, 50, 100, 150 ... ms, without jitter. `socketio` waits 1 to 5 s with jitter,
# `full_jitter` draws anything up to a limit that doubles.

# %%
WAYS = ["phoenix", "socketio", "full_jitter"]
back = compare(
    [
        load_scenario("room-channel", [*load, f"client.reconnect={way}", f"name={way}"], faults=["half-the-gateways"])
        for way in WAYS
    ],
    jobs=2,
)
storms = pd.DataFrame({way: analysis.recovery(outcome) for way, outcome in back.outcomes.items()}).T
storms[["sessions_hit", "back_p50_s", "back_p99_s", "tries", "tries_failed", "peak_tries_per_100ms"]]

# %%
charts.storm_chart(back.outcomes)

# %% [markdown]
# ## Redis fails over, with and without a store
#
# The same fault (30 s) for a design that stores each message before it is sent on, and for one that stores
# nothing.

# %%
failover = compare(
    [
        load_scenario("room-channel", [*load, "name=stored first"], faults=["redis-failover-30s"]),
        load_scenario(
            "room-channel",
            [*load, "name=never stored", "design.store=never", "design.offline=drop"],
            faults=["redis-failover-30s"],
        ),
    ],
    jobs=2,
)
losses = pd.DataFrame({name: analysis.recovery(outcome) for name, outcome in failover.outcomes.items()}).T
losses[["lost", "lost_broker_down", "lost_cut_off", "refused", "read_later"]]

# %% [markdown]
# ## Conclusion

# %%
row = struck.recovery.iloc[0]
quick, calm = storms["back_p50_s"].astype(float), storms["peak_tries_per_100ms"].astype(float)
stored, partly = "What is stored first waits for the next login.", "Not all that was under way was in store."
waits = partly if row["lost"] else stored
by_fault = losses["lost_broker_down"].astype(float) + losses["lost_cut_off"].astype(float)

Markdown(
    f"""
1. **{int(row["sessions_hit"]):,} sessions were cut; half were back after {row["back_p50_s"]:.1f} s, all
   after {row["back_all_s"]:.1f} s.** Of messages x recipients {int(row["lost"]):,} were lost for good and
   {int(row["refused"]):,} refused. {waits}
2. **Quickest back is `{quick.idxmin()}`** (half after {quick.min():.2f} s), **gentlest is
   `{calm.idxmin()}`**: at most {calm.min():.0f} tries in 100 ms, where `{calm.idxmax()}` has {calm.max():.0f}.
3. **A failover of Redis loses {int(by_fault["stored first"]):,} messages x recipients where messages are
   stored first, {int(by_fault["never stored"]):,} where they are not.** The broker keeps nothing for a gateway
   that is cut off.
"""
)

# %% [markdown]
# What this does not say: gateways in this model have no limit of memory, and logins cost what
# `data/costs/node.toml` says, which is partly assumed. Faults of your own are a part `[[faults]]` of a scenario
# (`chatsim new`), and `chatsim fault redis-failover-30s go-chat` does the same on the command line.
