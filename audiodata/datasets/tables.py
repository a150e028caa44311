"""Delimited text from strangers: read it fast, and when something is wrong, say in which file and line.

Two readers. `read_table` is for long lists of ids and numbers (millions of rows, Arrow, every column as text);
`read_rows` is for short tables whose fields may be quoted prose.
"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from audiodata.errors import MetadataError
from audiodata.packed import read_bytes

Spellings = Mapping[str, Sequence[str]]

_SEPARATORS = ",;\t|"


def shown(value: object) -> str:
    """Return a value from a stranger's file for a message: quoted, on one line, not too long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:76]}...'"


class TextTable(NamedTuple):
    """A table as it stands in its file.

    Attributes
    ----------
    path : Path
    columns : pyarrow.Table
        Every column as text, under its canonical name.
    skipped : int
        Lines before the first row: comments and header.
    """

    path: Path
    columns: pa.Table
    skipped: int

    def line(self, row: int) -> int:
        """Line number of a row, from 1; blank lines count as lines but not as rows."""
        lines = read_bytes(self.path).splitlines()[self.skipped :]
        filled = [number for number, line in enumerate(lines, self.skipped + 1) if line]
        return filled[row]

    def refuse(self, bad: np.ndarray, complaint: Callable[[int], str]) -> None:
        """Raise for the first row that is bad, if there is one; `complaint` takes the row's number."""
        if bad.any():
            row = int(np.argmax(bad))
            raise MetadataError(f"{self.path}: line {self.line(row)}: {complaint(row)}")

    def text(self, name: str) -> pa.ChunkedArray:
        """Column without the spaces around its values."""
        return pc.utf8_trim_whitespace(self.columns[name])

    def numbers(self, name: str) -> np.ndarray:
        """Column as finite float64; a value that is none is refused with its line."""
        values = self.text(name)
        try:
            numbers = pc.cast(values, pa.float64()).to_numpy()
        except pa.ArrowInvalid:
            numbers = np.array([_number(value) for value in values.to_pylist()])
        self.refuse(~np.isfinite(numbers), lambda row: f"{name} = {shown(values[row].as_py())} is not a number")
        return numbers


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def read_table(path: Path, columns: Spellings, optional: Spellings | None = None) -> TextTable:
    """Read a long list of ids and numbers.

    Comment lines (``#``) come first, if at all. The column names stand in the last of them, in a header row, or
    nowhere (then `columns` gives the order). Fields are separated by tabs or commas, with or without a space after the
    comma, so no field may hold a comma followed by a space.

    Parameters
    ----------
    path : Path
    columns : mapping of str to sequence of str
        Canonical name to its known spellings, in lower case; all must be there. Other columns are ignored.
    optional : mapping of str to sequence of str, optional
        Likewise, but may be missing.

    Raises
    ------
    MetadataError
        Names the file, and the line where there is one.
    """
    data = read_bytes(path).removeprefix(b"\xef\xbb\xbf")
    head = _Head.of(path, data, columns, optional or {})
    body = data[head.offset :]
    del data  # a hundred megabytes for the longest list
    if not body or body.isspace():
        raise MetadataError(f"{path}: has no rows; is it a complete file?")
    if head.separator == ",":
        body = body.replace(b", ", b",")
    try:
        table = pyarrow.csv.read_csv(
            pa.BufferReader(body),
            read_options=pyarrow.csv.ReadOptions(column_names=list(head.names)),
            parse_options=pyarrow.csv.ParseOptions(delimiter=head.separator),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(head.wanted, pa.string()), include_columns=list(head.wanted)
            ),
        )
    except pa.ArrowInvalid as error:
        raise _explained(path, body, head, error) from None
    return TextTable(path, table, head.skipped)


class _Head(NamedTuple):
    """What stands before the rows: `names` of all fields in order, which of them are `wanted`, where the rows begin."""

    names: tuple[str, ...]
    wanted: tuple[str, ...]
    separator: str
    skipped: int
    offset: int

    @classmethod
    def of(cls, path: Path, data: bytes, columns: Spellings, optional: Spellings) -> "_Head":
        """Find the column names, or settle for the order of `columns`."""
        comments, first = _leading_lines(path, data)
        separator = "\t" if "\t" in first else ","
        known = {spelling: name for name, spellings in {**columns, **optional}.items() for spelling in spellings}
        header = [_canonical(first, separator, known), *(_canonical(line, separator, known) for line in comments[::-1])]
        in_first_row = _is_header(header[0], known)
        names = next((names for names in header if _is_header(names, known)), None)
        if names is None:
            fields = next(csv.reader([first], delimiter=separator, skipinitialspace=True))
            names = (*columns, *optional)[: max(len(columns), len(fields))]
        missing = [name for name in columns if name not in names]
        if missing:
            raise MetadataError(f"{path}: no column `{missing[0]}`; columns: {', '.join(names)}")
        wanted = tuple(dict.fromkeys(name for name in names if name in columns or name in optional))
        skipped = len(comments) + in_first_row
        return cls(_distinct(names), wanted, separator, skipped, _offset(data, skipped))


def _offset(data: bytes, lines: int) -> int:
    """Return where the text after so many lines begins."""
    at = 0
    for _ in range(lines):
        at = data.find(b"\n", at) + 1 or len(data)
    return at


def _leading_lines(path: Path, data: bytes) -> tuple[list[str], str]:
    """Return the comment lines and the first line after them."""
    comments: list[str] = []
    for line in io.BytesIO(data):
        text = line.decode("utf-8", errors="replace").strip("\r\n")
        if not text.startswith("#"):
            return comments, text
        comments.append(text)
    raise MetadataError(f"{path}: has no rows; is it a complete file?")


def _canonical(line: str, separator: str, known: Mapping[str, str]) -> tuple[str, ...]:
    fields = (field.strip(' "') for field in line.lstrip("# ").split(separator))
    return tuple(known.get(field.lower(), field) for field in fields)


def _is_header(names: Sequence[str], known: Mapping[str, str]) -> bool:
    return len(set(names) & set(known.values())) >= 2


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Give a repeated or empty column name a number, since only the first one of a name is read."""
    return tuple(name if name and name not in names[:at] else f"{name}#{at}" for at, name in enumerate(names))


def _explained(path: Path, body: bytes, head: _Head, error: Exception) -> MetadataError:
    """Find the line that the fast reader tripped over; only files that are already refused are read this way."""
    lines = body.decode("utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines, head.skipped + 1):
        fields = next(csv.reader([line], delimiter=head.separator), [])
        if line and ("\ufffd" in line or len(fields) != len(head.names)):
            found = "text that is not UTF-8" if "\ufffd" in line else f"{len(fields)}"
            return MetadataError(
                f"{path}: line {number}: expected {len(head.names)} fields ({', '.join(head.names)}), found {found}"
            )
    return MetadataError(f"{path}: not readable as a table ({error})")


class Rows(NamedTuple):
    """A short table: `columns` by name, each with a text a row, and the line at which each row ends."""

    path: Path
    columns: dict[str, list[str]]
    lines: list[int]

    def __len__(self) -> int:
        return len(self.lines)

    def column(self, name: str, key: str = "") -> list[str]:
        """Return a column; `key` is the setting that named it, for the message where there is no such column."""
        if name not in self.columns:
            asked = f" (asked for by `{key}`)" if key else ""
            raise MetadataError(f"{self.path}: no column `{name}`{asked}; columns: {', '.join(self.columns)}")
        return self.columns[name]

    def error(self, row: int, complaint: str) -> MetadataError:
        """Make the error that names this file and a row's line."""
        return MetadataError(f"{self.path}: line {self.lines[row]}: {complaint}")


def read_rows(path: Path, separator: str | None = None, header: Sequence[str] | None = None) -> Rows:
    """Read a short table with quoted fields, as text.

    Parameters
    ----------
    path : Path
    separator : str, optional
        None: the one of comma, semicolon, tab and bar that the first line has most of.
    header : sequence of str, optional
        Column names of a file that has no header row.

    Raises
    ------
    MetadataError
        Not readable, not UTF-8, no header, or a row with another number of fields.
    """
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MetadataError(f"{path}: not UTF-8 (byte {error.start}); save it as UTF-8") from None
    first = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator or max(_SEPARATORS, key=first.count))
    rows, lines = [], []
    for fields in reader:
        if any(fields):
            rows.append([field.strip() for field in fields])
            lines.append(reader.line_num)
    names = list(header) if header else rows.pop(0) if rows else []
    lines = lines[len(lines) - len(rows) :]
    return Rows(path, _columns(path, names, rows, lines), lines)


def _columns(path: Path, names: list[str], rows: list[list[str]], lines: list[int]) -> dict[str, list[str]]:
    if not names or len(set(names)) < len(names):
        raise MetadataError(f"{path}: expected a header row, each column with its own name, found {shown(names)}")
    for fields, line in zip(rows, lines, strict=True):
        if len(fields) != len(names):
            raise MetadataError(f"{path}: line {line}: expected {len(names)} fields, found {len(fields)}")
    return {name: [fields[at] for fields in rows] for at, name in enumerate(names)}
