"""Readers of event files: `READERS` by format, and `read_events`, which finds the format by the file's first bytes where it is not named."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from audiodata.errors import CatalogError, ClipError
from audiodata.events.readers import aedat2, aedat4, headerless, nmnist, npz, ntidigits, tonic
from audiodata.events.readers.base import HEAD_BYTES, Reader, described, opened
from audiodata.events.record import Events
from audiodata.settings import Settings, nearest, validated

__all__ = ["AUTO", "READERS", "AutoSettings", "Reader", "read_events", "reader_settings", "sniff_format"]

AUTO = "auto"
READERS: dict[str, Reader] = {
    "aedat2": aedat2.READER,
    "aedat4": aedat4.READER,
    "nmnist": nmnist.READER,
    "headerless": headerless.READER,
    "ntidigits": ntidigits.READER,
    "npz": npz.READER,
    "tonic": tonic.READER,
}


class AutoSettings(Settings):
    """The format "auto" has no keys: they belong to a format that is named."""


def read_events(path: Path, reader: Mapping[str, Any], item: str = "", index: int = 0, *, name: str = "") -> Events:
    """Read a recording of events.

    Parameters
    ----------
    path : Path
        The file.
    reader : mapping
        ``format``, a key of `READERS` or "auto" (see `sniff_format`), and the settings of that reader.
    item : str
        The recording's name, in a file that holds many by name.
    index : int
        Its number, in a file that holds many by number.
    name : str
        What messages call the file; its own name by default.

    Returns
    -------
    Events
        At least one event; timestamps as recorded, made to never run backward.

    Raises
    ------
    ClipError
        ``missing_file``, ``unreadable``, ``undecodable``, ``truncated``, or ``empty``; the message begins with the file's name.
    CatalogError
        An unknown format or key.
    EnvironmentFault
        The reader needs a package that is not installed.
    """
    path = Path(path)
    with _named(name or path.name):
        chosen = {"format": sniff_format(path)} if reader.get("format") == AUTO and len(reader) == 1 else reader
        settings = reader_settings(chosen, f"reader of {path.name}")
        events = READERS[chosen["format"]].read(path, settings, item, index)
        if not len(events.array):
            raise ClipError("empty", "holds no events")
    return events


def reader_settings(reader: Mapping[str, Any], where: str) -> Settings:
    """Check the settings of a reader, before any file is there.

    Parameters
    ----------
    reader : mapping
        As `read_events` takes it.
    where : str
        The catalog and table, for the message.

    Returns
    -------
    Settings
        Those of the reader; `AutoSettings` for "auto".

    Raises
    ------
    CatalogError
        No format or an unknown one, an unknown key (the nearest known one is named), a wrong value.
    """
    formats = [*READERS, AUTO]
    if "format" not in reader:
        raise CatalogError(f"{where}: `format` is required; known: {', '.join(formats)}")
    form = reader["format"]
    keys = {key: value for key, value in reader.items() if key != "format"}
    if form == AUTO and keys:
        raise CatalogError(f'{where}: `{next(iter(keys))}` needs a format that is named; `format` = "auto" has no further keys')
    if form not in formats:
        raise CatalogError(f"{where}: unknown format `{form}`{nearest(str(form), formats)}")
    return validated(AutoSettings if form == AUTO else READERS[form].settings, keys, where)


def sniff_format(path: Path) -> str:
    """Find the format of a file: by its first bytes, or, where the format has no header, by all of them.

    Returns
    -------
    str
        A key of `READERS`.

    Raises
    ------
    ClipError
        ``undecodable``: none beyond doubt, or more than one.
    OSError
        The file is not there or may not be read.
    """
    with opened(path) as (file, _):
        head = file.read(HEAD_BYTES)
    found = [form for form, reader in READERS.items() if reader.sniff(head, path)]
    if len(found) == 1:
        return found[0]
    if found:
        raise ClipError("undecodable", f"could be {' or '.join(found)}; name the `format`")
    raise ClipError("undecodable", f"its format is not known beyond doubt, got {described(head)}; name the `format`: {', '.join(READERS)}")


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Put the file's name in front of what readers say, and say in one line what the system says."""
    name = "".join(letter if letter.isprintable() else "?" for letter in name)
    try:
        yield
    except ClipError as error:
        raise ClipError(error.reason, f"{name}: {error.message}") from None
    except (FileNotFoundError, NotADirectoryError):
        raise ClipError("missing_file", f"{name}: no such file") from None
    except OSError as error:
        raise ClipError("unreadable", f"{name}: can't be read ({error.strerror or 'input or output error'})") from None
    except MemoryError:
        raise ClipError("unreadable", f"{name}: its events don't fit into memory") from None
