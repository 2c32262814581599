"""Tables out of files that nobody vouches for: CSV, CSV.gz and Parquet, as text and numbers, with line numbers."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from chatsim.scenario.errors import InputError, nearest, quoted
from chatsim.world.pairs import Keys, edge_keys, unique_sorted
from chatsim.world.tables import Floats, Longs

if TYPE_CHECKING:
    import pyarrow as pa

Texts = npt.NDArray[np.object_]

FILE_BYTES_MAX = 2_000_000_000
ROWS_MAX = 100_000_000
PEEK_BYTES = 1 << 16
SUFFIXES = (".csv", ".csv.gz", ".parquet")
LATEST_EPOCH_S = 1e11
"""Year 5138: later "seconds" are milliseconds or finer."""


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of a file, ``line`` the number of each row's line (of its row, from 1, in Parquet).

    ``skipped`` counts rows with another number of fields than the header.
    """

    origin: str
    columns: dict[str, pa.ChunkedArray]
    line: Longs
    unit: str
    skipped: dict[str, int] = field(default_factory=dict)

    def place(self, row: int) -> str:
        """Where a row stands, for messages: ``log.csv: line 7``."""
        return f"{self.origin}: {self.unit} {self.line[row]}"

    def text(self, name: str) -> Texts:
        """A column as text without outer spaces, '' where it is empty."""
        import pyarrow as pa
        import pyarrow.compute as pc

        column = self.columns[name]
        try:
            texts = pc.utf8_trim_whitespace(pc.fill_null(column.cast(pa.string()), ""))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            kind = column.type
            raise InputError(f"{self.origin}: column '{name}' holds {kind}: text or numbers are needed") from error
        values: Texts = texts.to_numpy(zero_copy_only=False).astype(object)
        return values


def read_table(path: Path, needed: Sequence[str]) -> Table:
    """The table in a CSV, CSV.gz or Parquet file; InputError where it is not one or lacks a needed column."""
    _check_file(path)
    table = _read_parquet(path) if path.suffix == ".parquet" else _read_csv(path)
    for name in needed:
        if name not in table.columns:
            raise InputError(f"{path}: column '{name}' is missing{nearest(name, table.columns)}")
    if not len(table.line):
        counted = "; ".join(f"{count:,} have {what}" for what, count in table.skipped.items())
        raise InputError(f"{path}: holds no rows under its header: at least one is needed{counted and f' ({counted})'}")
    return table


def epoch_s(table: Table, name: str, wanted: npt.NDArray[np.bool_], time_format: str = "ISO8601") -> Floats:
    """A column of times as seconds since 1970, for the ``wanted`` rows (NaN elsewhere).

    Numbers are taken as epoch seconds; anything else must be in ``time_format``, without a zone meaning UTC. Raises
    InputError with the line of the first that is not a time, is NaN or infinite, or lies before 1970.
    """
    import pandas as pd

    shown = table.text(name)
    times = np.full(len(table.line), np.nan)
    rows = np.flatnonzero(wanted)
    if not len(rows):
        return times
    chosen = pd.Series(shown[rows], dtype=object)
    if _is_number(shown[rows[0]]):
        form = "epoch seconds (as in the rows before)"
        times[rows] = pd.to_numeric(chosen, errors="coerce").to_numpy(np.float64)
    else:
        form = "an ISO time or epoch seconds"
        stamps = pd.to_datetime(chosen, format=time_format, utc=True, errors="coerce")
        times[rows] = ((stamps - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)).to_numpy(np.float64)
    _check_times(table, name, shown, times, rows, form)
    return times


def read_edges(path: Path, users: int) -> Keys:
    """The friendships of an edge list with columns user, friend (0 to users - 1), each once, lower user first."""
    table = read_table(path, ("user", "friend"))
    if table.skipped:
        raise InputError(f"{path}: {sum(table.skipped.values())} rows have another number of fields than the header")
    ends = [whole_numbers(table, name, 0, users - 1, "workload.users - 1") for name in ("user", "friend")]
    loops = np.flatnonzero(ends[0] == ends[1])
    if len(loops):
        place, user = table.place(int(loops[0])), ends[0][loops[0]]
        raise InputError(f"{place}: user {user} is its own friend: two users are needed")
    return unique_sorted(edge_keys(ends[0], ends[1]))


def whole_numbers(table: Table, name: str, lowest: int, highest: int, limit: str) -> Longs:
    """A column of whole numbers within bounds; InputError names the first line that holds none."""
    import pandas as pd

    texts = table.text(name)
    numbers = pd.to_numeric(pd.Series(texts, dtype=object), errors="coerce").to_numpy(np.float64)
    with np.errstate(invalid="ignore"):
        wrong = np.flatnonzero(~((numbers >= lowest) & (numbers <= highest) & (numbers == np.floor(numbers))))
    if len(wrong):
        row = int(wrong[0])
        raise InputError(
            f"{table.place(row)}: {name} = '{_short(texts[row])}': a whole number from {lowest} to {highest} ({limit}) "
            "is needed"
        )
    return numbers.astype(np.int64)


def _check_file(path: Path) -> None:
    try:
        if path.is_dir():
            raise InputError(f"{path}: is a folder: a file is needed")
        if not path.exists():
            raise InputError(f"{path}: no such file")
        if not path.is_file():
            raise InputError(f"{path}: is not a regular file: a file is needed")
        size = path.stat().st_size
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not path.name.endswith(SUFFIXES):
        raise InputError(f"{path}: unknown suffix '{path.suffix}': allowed: {quoted(SUFFIXES)}")
    if size == 0:
        raise InputError(f"{path}: is empty: a header and at least one row are needed")
    if size > FILE_BYTES_MAX:
        raise InputError(f"{path}: {size:,} bytes: at most {FILE_BYTES_MAX:,} are allowed")


def _read_bytes(path: Path) -> bytes:
    """All of a text file, unpacked; refuses binary content after a look at its beginning."""
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rb") as stream:
            beginning = stream.read(PEEK_BYTES)
            _refuse_nul(path, beginning)
            content: bytes = beginning + stream.read(FILE_BYTES_MAX + 1 - len(beginning))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path}: is broken gzip: {error}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(content) > FILE_BYTES_MAX:
        raise InputError(f"{path}: more than {FILE_BYTES_MAX:,} bytes unpacked: at most that many are allowed")
    _refuse_nul(path, content)
    return content.removeprefix(b"\xef\xbb\xbf")


def _refuse_nul(path: Path, content: bytes) -> None:
    place = content.find(0)
    if place >= 0:
        raise InputError(f"{path}: byte {place} is NUL: this is not a text file; CSV in UTF-8 is needed")


def _read_csv(path: Path) -> Table:
    import pyarrow as pa
    from pyarrow import csv

    content = _read_bytes(path)
    if not content.strip():
        raise InputError(f"{path}: is empty: a header and at least one row are needed")
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}: line {line}: byte {error.start} is not UTF-8: UTF-8 text is needed") from error
    header = content.split(b"\n", 1)[0].decode("utf-8")
    names = [name.strip().strip('"').strip() for name in header.split(",")]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{path}: column '{name}' stands {names.count(name)} times in the header: once is needed")
    skipped: list[int] = []

    def skip(row: csv.InvalidRow) -> str:
        skipped.append(row.number or 0)
        return "skip"

    keys = [str(place) for place in range(len(names))]
    try:
        read = csv.read_csv(
            pa.BufferReader(content),
            read_options=csv.ReadOptions(use_threads=False, column_names=keys, skip_rows=1),
            parse_options=csv.ParseOptions(ignore_empty_lines=False, invalid_row_handler=skip),
            convert_options=csv.ConvertOptions(column_types=dict.fromkeys(keys, pa.string())),
        )
    except pa.ArrowInvalid as error:
        raise InputError(f"{path}: is not CSV: {error}") from error
    total = read.num_rows + len(skipped)
    lines = np.setdiff1d(np.arange(2, total + 2), np.array(skipped, np.int64))
    counted = {"another number of fields than the header": len(skipped)} if skipped else {}
    return Table(str(path), dict(zip(names, read.columns, strict=True)), lines, "line", counted)


def _read_parquet(path: Path) -> Table:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            rows = file.metadata.num_rows
            if rows > ROWS_MAX:
                raise InputError(f"{path}: {rows:,} rows: at most {ROWS_MAX:,} are allowed")
            read = file.read()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{path}: is broken Parquet: {error}") from error
    names = read.column_names
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{path}: column '{name}' stands {names.count(name)} times: once is needed")
    return Table(str(path), dict(zip(names, read.columns, strict=True)), np.arange(1, rows + 1), "row")


def _check_times(table: Table, name: str, shown: Texts, times: Floats, rows: Longs, form: str) -> None:
    chosen = times[rows]
    wrong = rows[~np.isfinite(chosen) | (chosen < 0) | (chosen > LATEST_EPOCH_S)]
    if not len(wrong):
        return
    row = int(wrong[0])
    value, text = times[row], _short(str(shown[row]))
    where = f"{table.place(row)}: {name} = '{text}'"
    if value < 0 and np.isfinite(value):
        raise InputError(f"{where}: is before 1970: a time from 0 (1970-01-01) on is needed")
    if np.isfinite(value):
        raise InputError(f"{where}: is after the year 5000: seconds are needed, not milliseconds or finer")
    if text.lower() in ("nan", "inf", "-inf", "infinity", "-infinity"):
        raise InputError(f"{where}: a finite time is needed")
    raise InputError(f"{where}: is not a time: {form} is needed")


def _is_number(value: object) -> bool:
    try:
        float(str(value))
    except ValueError:
        return False
    return True


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."
