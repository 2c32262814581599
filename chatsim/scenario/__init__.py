"""What is asked for: frozen, validated scenarios (ground floor)."""

from chatsim.scenario.errors import AuditError, InputError
from chatsim.scenario.load import load_scenario, preset_names, to_toml
from chatsim.scenario.models import ROUTINGS, Host, Scenario

__all__ = ["ROUTINGS", "AuditError", "Host", "InputError", "Scenario", "load_scenario", "preset_names", "to_toml"]
