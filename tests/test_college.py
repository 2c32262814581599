"""The behaviour model with CollegeMsg's marginals foretells what it was not told: who is on the list at openings."""

from __future__ import annotations

import pytest

from chatsim.analysis import hit_curve
from chatsim.analysis.marginals import clock_step_s, marginals
from chatsim.scenario import load_scenario
from chatsim.world import World, build_world

WORLDS = ("collegemsg", "college")


@pytest.fixture(scope="module")
def worlds() -> tuple[World, World]:
    """The log, and the model fitted to it in a replication that the search has not used."""
    real, model = (load_scenario("go-chat", workload=name) for name in WORLDS)
    return build_world(real), build_world(model, replication=7)


def test_hits_at_openings_are_within_five_points_for_every_length(worlds: tuple[World, World]) -> None:
    real, model = (hit_curve(world).query("of == 'openings'").set_index("k")["hit_share"] for world in worlds)
    assert len(real) == 10
    assert (100 * (model - real)).abs().max() < 5


@pytest.mark.parametrize("figure", ["quick_reply_share", "partners_mean", "partners_p90", "burstiness"])
def test_a_marginal_is_within_a_fifth(worlds: tuple[World, World], figure: str) -> None:
    clock_s = clock_step_s(worlds[0])
    real, model = (marginals(world, clock_s)[figure] for world in worlds)
    assert model == pytest.approx(real, rel=0.2)
