"""Wrong scenarios and commands: one clear line, exit status 2, no traceback, nothing written."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from chatsim.cli import main
from chatsim.scenario.files import MAX_TOML_BYTES
from tests.conftest import Said

Cli = Callable[..., Said]

# What stands after ``chatsim run go-chat --set``, and what is said about it.
CHANGES = {
    "zero gateways": ("design.gateways=0", "go-chat: design.gateways = 0: at least 1 is needed"),
    "negative gateways": ("design.gateways=-3", "design.gateways = -3: at least 1 is needed"),
    "half a gateway": ("design.gateways=1.5", "design.gateways = 1.5: a whole number is needed"),
    "gateways as text": ("design.gateways='8'", "design.gateways = '8': a whole number is needed"),
    "gateways as truth": ("design.gateways=true", "design.gateways = True: a whole number is needed"),
    "unknown part": ("desing.gateways=8", "unknown key 'desing'; did you mean 'design'?"),
    "unknown key of a part": ("design.gatways=8", "unknown key 'design.gatways'; did you mean 'gateways'?"),
    "unknown key two parts down": ("workload.friends.degre_mean=8", "unknown key 'workload.friends.degre_mean'; did you mean 'degree_mean'?"),
    "unknown key, nothing like it": ("design.xyzzy=8", "unknown key 'design.xyzzy'; known: 'gateways', "),
    "wrong unit in the value": ("gateway.tick_us=15ms", "gateway.tick_us = '15ms': a number is needed (the unit stands in the key's name)"),
    "wrong unit in the key": ("gateway.tick_ms=15", "unknown key 'gateway.tick_ms'; did you mean 'tick_us'?"),
    "negative time": ("workload.duration_s=-1", "workload.duration_s = -1: at least 0 is needed"),
    "no time": ("workload.duration_s=0", "workload.duration_s = 0: more than 0 s is needed"),
    "too long": ("workload.duration_s=1e10", "workload.duration_s = 10000000000.0: at most 1e+09 is allowed"),
    "not a number": ("broker.tick_us=nan", "broker.tick_us = nan: a finite number is needed"),
    "infinite": ("broker.tick_us=inf", "broker.tick_us = inf: a finite number is needed"),
    "negative cost": ("broker.publish_us=-0.1", "broker.publish_us = -0.1: at least 0 is needed"),
    "share above one": ("workload.conversations.group_share=1.5", "workload.conversations.group_share = 1.5: at most 1 is allowed"),
    "hour beyond the day": ("workload.start_hour=24", "workload.start_hour = 24: less than 24 is allowed"),
    "no users": ("workload.users=0", "workload.users = 0: at least 1 is needed"),
    "negative seed": ("seed=-1", "seed = -1: at least 0 is needed"),
    "unknown routing": ("design.routing=rom", "design.routing = 'rom': allowed: 'in_process', 'global', 'global_per_recipient', 'user', 'room', 'directory', 'mesh'; did you mean 'room'?"),
    "unknown topology": ("broker.topology=ring", "broker.topology = 'ring': allowed: 'single', 'cluster', 'sharded'"),
    "a part as a value": ("design=3", "design = 3: a part with keys of its own is needed"),
    "a key inside a value": ("name.x=3", "'name' is a value, not a part"),
    "two nodes of one": ("broker.nodes=2", "broker.nodes = 2: topology = 'single' is one node, so 1 is needed"),
    "a hub of several": ("design.routing=in_process", "design.gateways = 4: routing = 'in_process' is one process, so 1 is needed"),
    "mean below median": ("workload.friends.degree_mean=1", "workload.friends.degree_mean = 1: at least degree_median = 99 is needed"),
    "stores what is never stored": ("design.store=never", "offline = 'push': nothing is stored with store = 'never'"),
    "hosts as a number": ("hosts=3", "hosts = 3: a list is needed"),
    "unknown station": ("hosts=[{name='a',stations=['gatway-0']}]", "hosts: station 'gatway-0' of host 'a' does not exist; did you mean 'gateway-0'?"),
    "a station twice": ("hosts=[{name='a',stations=['database']},{name='b',stations=['data*']}]", "hosts: station 'database' is on 'a' and on 'b': one is allowed"),
    "a host without stations": ("hosts=[{name='a'}]", "'hosts.0.stations' is missing"),
    "truth as text": ("design.local_shortcut=yes", "design.local_shortcut = 'yes': true or false is needed"),
    "a name of nothing": ("name=''", "name = '': "),
    "sessions without a trace": ("workload.trace_sessions='s.csv'", "workload.trace_sessions = 's.csv': needs a trace, but trace = ''"),
    "a trace that is not there": ("workload.trace='gone.csv'", "gone.csv"),
    "a set without a value": ("design.gateways", "--set 'design.gateways': the form is part.key=value"),
    "a set without a key": ("=8", "--set '=8': the form is part.key=value"),
    "a set with an empty key": ("design..gateways=8", "the form is part.key=value"),
}

# The text of a scenario file ``bad.toml``, and what is said about it.
FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "bad.toml: is empty"),
    "blank": (b" \n\n", "bad.toml: is empty"),
    "not UTF-8": (b'name = "caf\xe9"\n', "bad.toml: byte 11 is not UTF-8"),
    "binary": (b"PAR1\x00\xff\xfe", "bad.toml: byte 5 is not UTF-8"),
    "not TOML": (b"design:\n  gateways: 3\n", "bad.toml: is not TOML: "),
    "a key twice": (b"seed = 1\nseed = 2\n", "bad.toml: is not TOML: "),
    "nested too deeply": (b"a = " + b"[" * 5000 + b"]" * 5000, "bad.toml: is nested too deeply"),
    "unknown part": (b"[desing]\ngateways = 3\n", "bad.toml: unknown key 'desing'; did you mean 'design'?"),
    "wrong unit": (b"[network]\nclient_s = 1.0\n", "bad.toml: unknown key 'network.client_s'"),
    "a date for a number": (b"[workload]\nduration_s = 2024-01-01\n", "bad.toml: workload.duration_s = "),
    "extends itself": (b'extends = "bad.toml"\n', "the files extend each other in a loop: bad.toml -> bad.toml"),
    "extends what is not there": (b'extends = "go-cht"\n', "'go-cht': neither a file nor a shipped design; did you mean 'go-chat'?"),
    "extends a number": (b"extends = 3\n", "bad.toml: extends = 3: a name or a list of names is needed"),
    "extends a list of numbers": (b"extends = [1]\n", "bad.toml: extends = [1]: a name or a list of names is needed"),
}

# Whole command lines.
COMMANDS: dict[str, tuple[list[str], str]] = {
    "unknown command": (["rnu", "go-chat"], "No such command 'rnu'. Did you mean 'run'?"),
    "unknown option": (["run", "go-chat", "--sed", "1"], "--sed"),
    "no scenario": (["run"], "Missing argument 'SCENARIO'"),
    "nothing to compare": (["compare"], "Missing argument 'SCENARIO"),
    "unknown design": (["run", "go-caht"], "'go-caht': neither a file nor a shipped design; did you mean 'go-chat'?"),
    "unknown design, estimated": (["estimate", "gochat"], "did you mean 'go-chat'?"),
    "no such file": (["run", "gone.toml"], "gone.toml: no such file"),
    "no such engine": (["run", "go-chat", "--engine", "compild"], "engine = 'compild': no such engine; did you mean 'compiled'?"),
    "a folder": (["run", "."], ".: is a folder: a file is needed"),
    "a device": (["run", "/dev/null"], "/dev/null: is not a plain file"),
    "a name too long": (["run", "x" * 5000], "File name too long"),
    "seed as text": (["run", "go-chat", "--seed", "one"], "Invalid value for '--seed'"),
    "seed below zero": (["run", "go-chat", "--seed", "-1"], "seed = -1: at least 0 is needed"),
    "no replications": (["run", "go-chat", "--replications", "0"], "--replications 0: at least 1 is needed"),
    "fewer than no jobs": (["run", "go-chat", "--jobs", "-2"], "--jobs -2: at least 1 is needed"),
    "unknown workload": (["run", "go-chat", "--workload", "smal"], "'smal': neither a file nor a shipped workload; did you mean 'small'?"),
    "a design as workload": (["run", "go-chat", "--workload", "designs/go-chat"], "only 'name', 'about', 'extends' and 'workload' are allowed in a workload"),
    "the same design twice": (["compare", "go-chat", "go-chat"], "two designs have the name 'go-chat': names must differ"),
    "an unknown start": (["new", "x.toml", "--extends", "go-caht"], "--extends go-caht: a shipped design is needed; did you mean 'go-chat'?"),
    "a new file nowhere": (["new", "gone/x.toml"], "gone/x.toml: cannot be written: No such file or directory"),
    "a new file over a folder": (["new", "."], "exists already: nothing is overwritten"),
}


def refused(said: Said, phrase: str, folder: Path, before: set[str]) -> None:
    """One line with the phrase, status 2, and nothing new in the folder."""
    assert said.status == 2
    assert phrase in said.err
    assert said.err.startswith("chatsim: ")
    assert said.err.count("\n") == 1
    assert len(said.err) < 5400
    assert "Traceback" not in said.err
    assert said.out == ""
    assert {str(path.relative_to(folder)) for path in folder.rglob("*")} == before


@pytest.mark.parametrize(("change", "phrase"), CHANGES.values(), ids=CHANGES)
def test_a_wrong_change_is_refused(chatsim: Cli, tmp_path: Path, change: str, phrase: str) -> None:
    refused(chatsim("run", "go-chat", "--set", change, "--out", "out"), phrase, tmp_path, set())


@pytest.mark.parametrize(("content", "phrase"), FILES.values(), ids=FILES)
def test_a_wrong_file_is_refused(chatsim: Cli, tmp_path: Path, content: bytes, phrase: str) -> None:
    (tmp_path / "bad.toml").write_bytes(content)
    refused(chatsim("run", "bad.toml", "--out", "out"), phrase, tmp_path, {"bad.toml"})


@pytest.mark.parametrize(("arguments", "phrase"), COMMANDS.values(), ids=COMMANDS)
def test_a_wrong_command_is_refused(chatsim: Cli, tmp_path: Path, arguments: list[str], phrase: str) -> None:
    refused(chatsim(*arguments), phrase, tmp_path, set())


def test_a_sparse_file_of_5_gb_is_refused_unread(chatsim: Cli, tmp_path: Path) -> None:
    with (tmp_path / "big.toml").open("wb") as big:
        big.truncate(5_000_000_000)
    refused(chatsim("run", "big.toml"), f"big.toml: 5,000,000,000 bytes: at most {MAX_TOML_BYTES:,} are allowed", tmp_path, {"big.toml"})


def test_a_loop_of_files_is_named_link_by_link(chatsim: Cli, tmp_path: Path) -> None:
    for name, base in (("a", "b"), ("b", "c"), ("c", "a")):
        (tmp_path / f"{name}.toml").write_text(f'extends = "{base}.toml"\n')
    phrase = "c.toml: extends = 'a.toml': the files extend each other in a loop: a.toml -> b.toml -> c.toml -> a.toml"
    refused(chatsim("run", "a.toml"), phrase, tmp_path, {"a.toml", "b.toml", "c.toml"})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused(chatsim: Cli, tmp_path: Path) -> None:
    (tmp_path / "secret.toml").write_text("seed = 1\n")
    (tmp_path / "secret.toml").chmod(0)
    refused(chatsim("run", "secret.toml"), "secret.toml: cannot be read: Permission denied", tmp_path, {"secret.toml"})


@pytest.mark.parametrize("key", ["seed", "workload.users"])
def test_designs_on_different_traces_are_not_compared(chatsim: Cli, tmp_path: Path, key: str) -> None:
    part, _, name = key.rpartition(".")
    (tmp_path / "other.toml").write_text('extends = "go-chat"\nname = "other"\n' + (f"[{part}]\n" if part else "") + f"{name} = 77\n")
    refused(chatsim("compare", "go-chat", "other.toml"), f"'go-chat' and 'other' differ in {key} (", tmp_path, {"other.toml"})


def test_an_existing_scenario_is_not_overwritten(chatsim: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("precious")
    refused(chatsim("new", "mine.toml"), "mine.toml: exists already: nothing is overwritten", tmp_path, {"mine.toml"})
    assert (tmp_path / "mine.toml").read_text() == "precious"


@pytest.mark.parametrize("force", [[], ["--force"]], ids=["without force", "with force"])
def test_a_folder_that_chatsim_did_not_write_is_left_alone(chatsim: Cli, tmp_path: Path, force: list[str]) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("precious")
    phrase = "--out out: is not empty and not a chatsim result: a new or an empty folder is needed"
    refused(chatsim("run", "go-chat", "--out", "out", *force), phrase, tmp_path, {"out", "out/thesis.txt"})


def test_a_file_in_the_place_of_the_folder_is_left_alone(chatsim: Cli, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("precious")
    refused(chatsim("run", "go-chat", "--out", "out"), "--out out: is a file: a folder is needed", tmp_path, {"out"})


def test_a_folder_below_a_file_cannot_be_made(chatsim: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    refused(chatsim("run", "go-chat", "--out", "file/out"), "--out file/out: cannot be written: ", tmp_path, {"file"})


def test_main_gives_the_status_and_does_not_exit(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "nothing-of-the-kind"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
