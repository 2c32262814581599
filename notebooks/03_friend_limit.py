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
# # How many friends must a list show?
#
# **Question.** When a client connects it loads a list of friends. A short list is quick to load; who is not on it
# has to be searched for, or is not written to at all. Is a list of 15 enough, and what do 30, 50 or all friends
# cost?
#
# **Method.** First the real CollegeMsg log (59,835 private messages of 1,899 students) alone: at how many
# conversation openings would the partner have been on a list of K, by each way to rank? Nobody consults a list in
# mid-conversation, so only openings count. Then `go-chat` is simulated on two weeks of that log, with lists of
# four lengths.

# %%
# %matplotlib inline
import pandas as pd
from IPython.display import Markdown

from chatsim import analysis, build_world, charts, friend_limit, load_scenario

pd.options.display.float_format = "{:,.4g}".format

# %% [markdown]
# ## What the log says, without a run
#
# Needs the extra `traces`: `pip install 'chatsim[traces]'`.

# %%
log = build_world(load_scenario("go-chat", workload="collegemsg"))
for line in log.report.lines:
    print(line)

# %%
curves = analysis.compare_rankings(log)
charts.hit_curves({str(policy): part for policy, part in curves.groupby("policy", sort=False)})

# %% [markdown]
# The dashed line is the best that any list of contacts can do: the rest are first contacts, whom nobody has
# written with before.

# %% [markdown]
# ## What lists of four lengths do to the system
#
# Two weeks from the start of the log. Presence goes to whoever has a user on the list, so the length of lists
# also sets its traffic.

# %%
DAYS = 14
two_weeks = load_scenario("go-chat", [f"workload.duration_s={DAYS * 86400}"], workload="collegemsg")
limits = friend_limit(two_weeks, ("15", "30", "50", "all"), jobs=2)
limits.set_index("limit")[["hit_share", "searches", "abandoned", "listed_mean", "list_bytes", "presence_notices"]]

# %%
charts.list_limits_chart(limits)

# %% [markdown]
# ## Conclusion

# %%
openings = curves[curves["of"] == "openings"]
finite = openings[openings["k"] == 15].set_index("policy")["hit_share"]
best, ceiling = finite.idxmax(), openings["hit_share"].max()
rows = limits.set_index("limit")
short, rest = rows.iloc[0], rows.iloc[1:]
gain = 100 * (rest["hit_share"] - short["hit_share"])
bytes_more = rest["list_bytes"] / short["list_bytes"]
notices_more = rest["presence_notices"] / short["presence_notices"]
steps = "; ".join(
    f"{limit}: {gain[limit]:+.1f} points of hits for {bytes_more[limit]:.1f} x the list bytes and "
    f"{notices_more[limit]:.1f} x the presence notices"
    for limit in rest.index
)
reached = finite[best] / ceiling
searched = {limit: 100 * row["searches"] / row["openings"] for limit, row in rows.iterrows()}

Markdown(
    f"""
1. **Rank by `{best}`**: over the whole log a list of 15 holds the partner at {100 * finite[best]:.1f} % of
   openings; by `{finite.idxmin()}` it holds {100 * finite.min():.1f} %.
2. **No list can do better than {100 * ceiling:.1f} %**: the other openings are first contacts, and need a
   search.
3. **Longer lists, against 15**: {steps}.
4. **A list of 15 reaches {reached:.0%} of what any list can.** With it {searched["15"]:.0f} of 100 openings in
   the run need a search, with all friends {searched["all"]:.0f}.
"""
)

# %% [markdown]
# What this does not say: your users are not these students. `chatsim friends --workload MINE.toml` and `chatsim
# friend-limit` ask the same of a log of yours (see `07_your_own_log`). That 70 % of those not listed are searched
# for (`friend_list.search_share`) is an assumption.
