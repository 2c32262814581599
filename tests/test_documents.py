"""The documents are true: their Python runs, their TOML loads, their command lines parse, their files exist."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer.main

from chatsim import load_scenario, preset_names
from chatsim.cli import app
from chatsim.engine.outcome import Fate
from chatsim.rules.routing import ROUTING_NUMBERS
from tests.conftest import ROOT, Said

DOCUMENTS = ("README.md", "DESIGN.md")
LINES = sorted(set(re.findall(r"`(chatsim [^`]+)`", (ROOT / "README.md").read_text(encoding="utf-8"))))
CHEAP = ("chatsim designs", "chatsim new mine.toml", "chatsim schema > chatsim.schema.json")


def blocks(language: str) -> list[Any]:
    """The code blocks of a language in all documents, each with the place where it stands."""
    found = []
    for document in DOCUMENTS:
        text = (ROOT / document).read_text(encoding="utf-8")
        for block in re.finditer(rf"^```{language}\n(.+?)^```$", text, re.DOTALL | re.MULTILINE):
            line = text[: block.start()].count("\n") + 1
            found.append(pytest.param(block[1], id=f"{document}:{line}"))
    return found


def words_of(line: str) -> list[str]:
    """The arguments of a command line, without the program and without where its output goes."""
    return shlex.split(line.partition(" > ")[0])[1:]


def asked(words: list[str]) -> tuple[str, dict[str, Any]]:
    """The command that a line names and its options as they were understood; nothing is carried out."""
    group: Any = typer.main.get_command(app)
    context = group.make_context("chatsim", list(words))
    name, command, rest = group.resolve_command(context, words)
    return str(name), command.make_context(name, rest, parent=context).params


@pytest.mark.parametrize("code", blocks("python"))
def test_python_runs(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(code, "document", "exec"), {"__name__": "document"})
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("text", blocks("toml"))
def test_toml_is_a_scenario(text: str, tmp_path: Path) -> None:
    (tmp_path / "scenario.toml").write_text(text, encoding="utf-8")
    scenario = load_scenario(tmp_path / "scenario.toml")
    told = tomllib.loads(text)
    assert scenario.name == told["name"]
    assert scenario.model_dump(include={"design": set(told["design"])})["design"] == told["design"]


def test_both_documents_show_code() -> None:
    for language in ("python", "toml"):
        assert len(blocks(language)) >= 2


@pytest.mark.parametrize("line", LINES)
def test_a_command_line_of_the_readme_parses(line: str) -> None:
    words = words_of(line)
    if words == ["new"]:
        words = ["new", "mine.toml"]
    name, options = asked(words)
    assert name == words[0]
    sources = [options["scenario"]] if options.get("scenario") else options.get("scenarios", [])
    for source in sources:
        for design in preset_names() if source == "all" else [source]:
            assert load_scenario(design, options["sets"] or [], options["workload"]).design


def test_every_command_is_in_the_readme() -> None:
    group: Any = typer.main.get_command(app)
    assert {words_of(line)[0] for line in LINES} == set(group.commands)


def test_a_wrong_command_line_would_be_found() -> None:
    with pytest.raises(Exception, match=r"(?i)no such option"):
        asked(["run", "go-chat", "--out-dir", "x"])


@pytest.mark.parametrize("line", CHEAP)
def test_a_cheap_line_of_the_readme_runs(line: str, chatsim: Callable[..., Said]) -> None:
    assert line in LINES
    said = chatsim(*words_of(line))
    assert (said.status, said.err) == (0, "")
    assert said.out
    if "schema" in line:
        assert json.loads(said.out)["title"] == "Scenario"


def test_the_million_users_of_the_readme_are_estimated(chatsim: Callable[..., Said]) -> None:
    (line,) = [line for line in LINES if " estimate " in line]
    said = chatsim(*words_of(line))
    assert said.status == 0
    assert "1,000,000" in said.out


def test_links_lead_somewhere() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", (ROOT / document).read_text(encoding="utf-8")):
            assert (ROOT / target).exists(), f"{document}: {target}"


def test_the_design_names_each_routing_each_fate_each_floor() -> None:
    text = (ROOT / "DESIGN.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == set(ROUTING_NUMBERS)
    assert {fate.name for fate in Fate} <= set(re.findall(r"\b[A-Z_]{4,}\b", text))
    floors = set(re.findall(r"^(\w+)/ ", text, re.MULTILINE))
    assert floors == {path.name for path in (ROOT / "chatsim").iterdir() if (path / "__init__.py").exists()}


def test_the_design_gives_the_default_costs_of_the_cluster_bus() -> None:
    broker = load_scenario("go-chat").broker
    text = " ".join((ROOT / "DESIGN.md").read_text(encoding="utf-8").split())
    assert f"{broker.publish_us:g} us per PUBLISH" in text
    assert f"this gives {broker.bus_send_us:g} us and {broker.bus_receive_us:g} us" in text
    assert broker.bus_send_us == pytest.approx(0.565 / 0.552 * broker.publish_us, abs=0.005)
    assert broker.bus_receive_us == pytest.approx(1.82 / 0.552 * broker.publish_us, abs=0.005)


def test_the_changelog_begins_with_this_version() -> None:
    from chatsim import __version__

    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (\S+)", text, re.MULTILINE)[0] == __version__
