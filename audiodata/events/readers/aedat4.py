"""AEDAT 4 recordings, as DV writes them: any camera, events beside frames and other streams.

The line ``#!AER-DAT4.0``, a header (compression, place of the closing index, an XML text that lists the streams), then packets: stream, size, and a
FlatBuffer, compressed by itself with LZ4 or Zstandard. An event is a 64-bit time in microseconds, 16-bit x and y, and whether it is ON.
Source: iniVation, "AEDAT 4.0 file format". Decompression is that of pyarrow.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO, NamedTuple
from xml.etree import ElementTree

import numpy as np
from pydantic import Field

from audiodata.errors import ClipError
from audiodata.events.readers.base import LARGEST_SIDE, LOGGER, Reader, described, filled, in_order, opened
from audiodata.events.readers.flatbuffer import Table
from audiodata.events.record import Events
from audiodata.settings import Settings

_MAGIC = b"#!AER-DAT4"
_LINE_BYTES = 64
_HEADER_LIMIT = 1 << 24
_PACKET_LIMIT = 1 << 28  # unpacked; a packet holds some milliseconds
_EVENT = np.dtype([("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("on", "u1")], align=True)
_CODECS = {0: "", 1: "lz4", 2: "lz4", 3: "zstd", 4: "zstd"}
_COMPRESSION, _INDEX_PLACE, _INFO, _ELEMENTS = 0, 1, 2, 0  # fields of the header's table, and of a packet's
_EVENTS = "EVTS"

Side = Annotated[int, Field(ge=1, le=LARGEST_SIDE)]


class Aedat4Settings(Settings):
    """Keys for AEDAT 4 files.

    Attributes
    ----------
    stream : int, optional
        Which stream of events. Default: the one with the lowest number.
    sensor_size : tuple of int, optional
        Columns and rows, for a file that does not tell.
    """

    stream: int | None = Field(None, ge=0)
    sensor_size: tuple[Side, Side] | None = None


class _Header(NamedTuple):
    codec: str
    index_at: int  # -1: the recording was not closed
    streams: dict[int, tuple[int, int] | None]  # of events: columns and rows, where known


def read(path: Path, settings: Aedat4Settings, item: str = "", index: int = 0) -> Events:
    """Read the events of one stream.

    A recording that was broken off has no index at its end: there, a packet that is cut is left out, with a warning in the log.

    Raises
    ------
    ClipError
        ``undecodable``: another format, damaged, no such stream, or no sensor size; ``truncated``: ends before its index.
    """
    with opened(path) as (file, size):
        header = _read_header(file)
        if header.index_at > size:
            raise ClipError("truncated", f"its header promises {header.index_at} bytes of packets, the file has {size} bytes; fetch it again")
        stream = _chosen(settings.stream, header.streams)
        columns, rows = _sensor(settings.sensor_size, header.streams[stream])
        parts = [_events(packet, header.codec) for number, packet in _packets(file, size, header.index_at, path) if number == stream]
    found = np.concatenate([np.empty(0, np.uint8), *parts]).view(_EVENT)
    array = filled({"t": found["t"], "x": found["x"], "y": found["y"], "p": found["on"] != 0}, (columns, rows, 2))
    return Events(in_order(array, path), (columns, rows, 2))


def _read_header(file: BinaryIO) -> _Header:
    magic = file.readline(_LINE_BYTES)
    if not magic.startswith(_MAGIC):
        raise ClipError("undecodable", f"expected an AEDAT 4 file, got {described(magic)}")
    length = int.from_bytes(file.read(4), "little")
    content = file.read(min(length, _HEADER_LIMIT))
    if len(content) < length:
        raise ClipError("truncated", f"its header promises {length} bytes, {len(content)} are there; fetch it again")
    try:
        table = Table(content)
        codec = _CODECS[table.number(_COMPRESSION, "<i", 0)]
        return _Header(codec, table.number(_INDEX_PLACE, "<q", -1), _streams(table.text(_INFO)))
    except KeyError as error:
        raise ClipError("undecodable", f"its compression is number {error}, known are 0 to {max(_CODECS)}; damaged?") from None
    except (ValueError, ElementTree.ParseError) as error:
        raise ClipError("undecodable", f"its header is damaged ({_one_line(error)})") from None


def _streams(info: bytes) -> dict[int, tuple[int, int] | None]:
    """Find the streams of events in the header's text."""
    if b"<!" in info:
        raise ValueError("declarations or comments in the list of streams")
    root = ElementTree.fromstring(info.rstrip(b"\0"))
    found = (node for outer in root.iter("node") if outer.get("name") == "outInfo" for node in outer.findall("node"))
    return {int(node.get("name", "")): _size(node) for node in found if _attributes(node).get("typeIdentifier") == _EVENTS}


def _attributes(node: Any) -> dict[str, str]:
    return {attribute.get("key", ""): (attribute.text or "").strip() for attribute in node.findall("attr")}


def _size(stream: Any) -> tuple[int, int] | None:
    info = stream.find("node[@name='info']")
    values = _attributes(info) if info is not None else {}
    if "sizeX" not in values or "sizeY" not in values:
        return None
    columns, rows = int(values["sizeX"]), int(values["sizeY"])
    if not (0 < columns <= LARGEST_SIDE and 0 < rows <= LARGEST_SIDE):
        raise ValueError(f"a sensor of {columns} x {rows}")
    return columns, rows


def _chosen(wanted: int | None, streams: dict[int, tuple[int, int] | None]) -> int:
    if not streams:
        raise ClipError("undecodable", "has no stream of events")
    if wanted is not None and wanted not in streams:
        raise ClipError("undecodable", f"stream {wanted} has no events; streams with events: {', '.join(map(str, sorted(streams)))}")
    return min(streams) if wanted is None else wanted


def _sensor(asked: tuple[int, int] | None, stated: tuple[int, int] | None) -> tuple[int, int]:
    if stated and asked and stated != asked:
        raise ClipError("undecodable", f"`sensor_size` = {list(asked)}, the file says {list(stated)}; leave the key out")
    size = stated or asked
    if size is None:
        raise ClipError("undecodable", "does not tell the sensor's size; give `sensor_size`")
    return size


def _packets(file: BinaryIO, size: int, index_at: int, path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the stream and content of each packet."""
    end = size if index_at < 0 else index_at
    while (at := file.tell()) < end:
        head = file.read(8)
        stream, length = struct.unpack("<ii", head) if len(head) == 8 else (0, size)
        if length < 0 or at + 8 + length > end:
            _end_of_packets(at, end, length, index_at < 0, path)
            return
        yield stream, file.read(length)


def _end_of_packets(at: int, end: int, length: int, broken_off: bool, path: Path) -> None:
    if length < 0 or not broken_off:
        raise ClipError("undecodable", f"damaged: a packet of {length} bytes at byte {at} of {end}")
    LOGGER.warning("%s: the recording was broken off; its last packet, at byte %d, is left out", path.name, at)


def _events(packet: bytes, codec: str) -> np.ndarray:
    """Unpack a packet: the bytes of its events."""
    try:
        content = _unpacked(packet, codec)
        table = Table(content)
        count, start = table.vector(_ELEMENTS)
        return np.frombuffer(content, np.uint8, count * _EVENT.itemsize, start) if count else np.empty(0, np.uint8)
    except (ValueError, OSError) as error:
        raise ClipError("undecodable", f"a packet of events is damaged ({_one_line(error)})") from None


def _unpacked(packet: bytes, codec: str) -> bytes:
    import pyarrow

    source = pyarrow.BufferReader(packet)
    with pyarrow.CompressedInputStream(source, codec) if codec else source as stream:
        length = int.from_bytes(stream.read(4), "little")
        if length > _PACKET_LIMIT:
            raise ValueError(f"{length} bytes in one packet")
        content = stream.read(length)
    if len(content) < length:
        raise ValueError(f"{len(content)} of {length} bytes")
    return content


def _one_line(error: Exception) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in str(error))[:200]


def _sniff(head: bytes, path: Path) -> bool:
    return head.startswith(_MAGIC)


READER = Reader(Aedat4Settings, read, _sniff, "AEDAT 4 of any camera (DV)")
