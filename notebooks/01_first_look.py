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
# # A first look: which routing should carry our chat?
#
# **Question.** A chat with 5,000 users is built like `go-chat`: a channel per user, and one PUBLISH per recipient. Two
# changes are on the table: one global channel on which each gateway asks Redis who is there (`go-chat-v2`), and a
# channel per room. Which of the three carries most, what breaks first, and what does it cost in latency?
#
# **Method.** All three get the same messages and the same luck, on the same servers. Only the routing differs. The
# conclusion at the end is computed from the runs above it: change a number, run all cells, and it follows.

# %%
# %matplotlib inline
import pandas as pd
from IPython.display import Markdown

from chatsim import analysis, build_world, charts, compare, estimate, load_scenario, load_test, saturation, simulate

pd.options.display.float_format = "{:,.4g}".format

# %% [markdown]
# ## The designs
#
# A shipped design is a starting point; changes are written as on the command line. The last messages are kept in
# Redis here (`design.store_in`); what the database does instead is asked further below.

# %%
in_redis = ["design.store_in=broker"]
designs = [
    load_scenario("go-chat", in_redis),
    load_scenario("go-chat-v2", in_redis),
    load_scenario("go-chat", [*in_redis, "design.routing=room", "name=go-chat-rooms"]),
]
pd.DataFrame([{"name": one.name, **one.design.model_dump()} for one in designs]).set_index("name").T

# %% [markdown]
# ## What binds first, without a run
#
# `estimate` is arithmetic: the work of a message and of a login at each tier, and the load at which a tier has no time
# left. It takes logins to grow along with the messages, as they do when users come.

# %%
estimates = {one.name: estimate(one) for one in designs}
rows = [{"design": name, **row} for name, needs in estimates.items() for row in needs.table()]
pd.DataFrame(rows)[["design", "tier", "utilisation_batched", "load_factor", "saturates_at_messages_per_s"]]

# %% [markdown]
# With messages in the database instead, as `go-chat` ships, something else binds:

# %%
in_database = {
    one.name: estimate(one.model_copy(update={"design": one.design.model_copy(update={"store_in": "database"})}))
    for one in designs
}
for name, needs in in_database.items():
    print(f"{name}: {needs.verdict}")

# %% [markdown]
# ## One evening on the same trace
#
# Ten minutes at the evening peak. Latency is from the sender's hand to the recipient's session, so most of it is the
# clients' own network. Every run is audited: each message has one known end for each of its recipients.

# %%
evening = compare(designs)
evening.summary[["design", "carried_per_s", "p50_ms", "p99_ms", "discarded_share", "busiest_tier", "overloaded"]]

# %%
charts.latency_by_percentile({name: analysis.latency_ms(run) for name, run in evening.outcomes.items()})

# %% [markdown]
# On the whole the lines lie on each other. Message by message there is a difference, as the luck is the same in all
# three. How much later than the first design does each of the others deliver?

# %%
evening.paired[["b", "pairs", "mean_difference_ms", "p99_difference_ms", "slower_share"]]

# %% [markdown]
# ## Under load
#
# The evening loads nothing: these servers are far too many for 5,000 users. So the sessions of the busiest moment are
# held open, and messages come at 10,000 per second. Pale is what ticks cost that would fall away if they were full: a
# station that looks busy but is pale still has room.

# %%
RATE_PER_S = 10_000
busy = load_test(build_world(designs[0]), RATE_PER_S, messages=2_000)
runs = [simulate(one, busy) for one in designs]
until_s = analysis.offered_until_s(runs[0])
tiers = pd.concat([analysis.tiers(run, until_s).assign(design=run.scenario.name) for run in runs], ignore_index=True)
charts.utilisation_by_tier(tiers, f"Utilisation by tier at {RATE_PER_S:,} messages/s")

# %% [markdown]
# ## Where each one ends
#
# The same test at rising loads. While a design keeps up it lies on the diagonal; beyond, it carries less than it is
# offered, latency rises, and the mark is hollow. A ring is the knee: the point that carries most per latency.

# %%
curves = saturation(designs, messages=1_000, points=5, jobs=2)
by_design = dict(list(curves.groupby("design", sort=False)))
charts.saturation_curve(by_design)

# %%
verdict = pd.DataFrame(
    {
        "binds": {name: needs.binding.name for name, needs in estimates.items()},
        "growing_messages_per_s": {
            name: needs.demand.messages_per_s * needs.binding.load_factor for name, needs in estimates.items()
        },
        "standing_messages_per_s": {
            name: part.loc[~part["overloaded"], "messages_per_s"].max() for name, part in by_design.items()
        },
        "p99_ms": evening.summary.set_index("design")["p99_ms"],
    }
).loc[[one.name for one in designs]]
verdict

# %% [markdown]
# `growing`: by arithmetic, logins grow along with the messages. `standing`: the highest simulated load at which the
# design kept up, with sessions that stay: no logins and no new subscriptions.

# %% [markdown]
# ## Conclusion

# %%
growing, standing = verdict["growing_messages_per_s"], verdict["standing_messages_per_s"]
first, last = growing.idxmax(), growing.idxmin()
stays = standing.idxmax()
spread_ms = verdict["p99_ms"].max() - verdict["p99_ms"].min()
stored = in_database[first]
stored_per_s = stored.demand.messages_per_s * stored.binding.load_factor

Markdown(
    f"""
1. **Latency does not decide.** On the evening's trace the p99 of the three lie within {spread_ms:.2g} ms of each other.
2. **Take {first}** for a growing number of users: it carries {growing[first]:,.0f} messages/s until the
   {verdict.loc[first, "binds"]} binds, {growing[first] / growing[last]:.1f} times what {last} carries.
3. """
    + (
        f"With sessions that stay, {first} carries most as well: {standing[first]:,.0f} messages/s."
        if stays == first
        else f"**With sessions that stay, {stays} carries most**: {standing[stays]:,.0f} messages/s against "
        f"{standing[first]:,.0f}. Logins are what it pays for, so the longer sessions last, the better it looks."
    )
    + f"""
4. **Where messages are stored matters too.** With the database instead of Redis, {first}'s {stored.binding.name} binds,
   at {stored_per_s:,.0f} messages/s: {growing[first] / stored_per_s:.1f} times earlier.
"""
)

# %% [markdown]
# What this does not say: the costs of a Go gateway and of the database are assumptions, marked as such in
# `data/costs/go.toml` and by `chatsim new`. Put in your own and run again. What the model leaves out is in `DESIGN.md`.
