"""Event files made by hand: the bytes of every format, written the slow and plain way."""

import struct

import h5py
import numpy as np
import pyarrow

AEDAT2_HEADER = b"#!AER-DAT2.0\r\n# This is a raw AE data file - do not edit\r\n# Data format is int32 address, int32 timestamp\r\n"
INFO = """<dv version="2.0"><node name="outInfo" path="/mainloop/Recorder/outInfo/">{streams}</node></dv>"""
STREAM = """<node name="{number}" path=""><attr key="typeIdentifier" type="string">{kind}</attr><node name="info" path="">{info}</node></node>"""
SIZE = """<attr key="sizeX" type="int">{columns}</attr><attr key="sizeY" type="int">{rows}</attr>"""


def dvs128_address(raw_x, raw_y, raw_p):
    """Address of a DVS128 event: bit 0 polarity, 1 to 7 x, 8 to 14 y."""
    return np.asarray(raw_y) << 8 | np.asarray(raw_x) << 1 | np.asarray(raw_p)


def aedat2_bytes(addresses, stamps, header=AEDAT2_HEADER):
    """An AEDAT 2.0 file."""
    words = np.empty((len(addresses), 2), ">u4")
    words[:, 0], words[:, 1] = addresses, np.asarray(stamps, np.int64) & 0xFFFFFFFF
    return header + words.tobytes()


def random_dvs128(rng, events):
    """Addresses and timestamps of a busy DVS128, one event in a thousand special."""
    addresses = dvs128_address(*(rng.integers(0, size, events) for size in (128, 128, 2)))
    return addresses | np.where(rng.random(events) < 1e-3, 0x8000, 0), np.cumsum(rng.integers(0, 3, events))


def nmnist_bytes(t, x, y, p):
    """An N-MNIST file."""
    t, p = np.asarray(t), np.asarray(p)
    return np.stack([np.asarray(x), np.asarray(y), p << 7 | t >> 16, t >> 8 & 255, t & 255], axis=1).astype(np.uint8).tobytes()


def headerless_bytes(addresses, stamps, address_bytes):
    """A cochlea's recording without a header."""
    layout = np.dtype([("address", f">u{address_bytes}"), ("stamp", ">u4")])
    records = np.empty(len(addresses), layout)
    records["address"], records["stamp"] = addresses, np.asarray(stamps) & 0xFFFFFFFF
    return records.tobytes()


def info_text(streams):
    """The list of streams of an AEDAT 4 file; ``streams`` maps numbers to (kind, (columns, rows) or None)."""
    nodes = [
        STREAM.format(number=number, kind=kind, info=SIZE.format(columns=size[0], rows=size[1]) if size else "")
        for number, (kind, size) in streams.items()
    ]
    return INFO.format(streams="".join(nodes)).encode()


def aedat4_header(compression, index_at, info):
    """Head of an AEDAT 4 file: the FlatBuffer is a root offset, an identifier, a vtable, a table with three fields, and the text."""
    vtable = struct.pack("<5H", 10, 20, 4, 8, 16)  # its own bytes, the table's, and where the fields are in the table
    table = struct.pack("<iiqI", 12, compression, index_at, 4)  # the vtable is 12 bytes before the table; the text follows at once
    buffer = struct.pack("<I", 20) + b"IOHE" + vtable + b"\0\0" + table + struct.pack("<I", len(info)) + info + b"\0"
    return b"#!AER-DAT4.0\r\n" + struct.pack("<I", len(buffer)) + buffer


def aedat4_events(events):
    """FlatBuffer of one packet of (t, x, y, on), with its size in front."""
    rows = b"".join(struct.pack("<qhhB3x", *event) for event in events)
    vtable = struct.pack("<3H", 6, 8, 4)
    table = struct.pack("<iI", 6, 4)
    buffer = struct.pack("<I", 14) + b"EVTS" + vtable + table + struct.pack("<I", len(events)) + rows
    return struct.pack("<I", len(buffer)) + buffer


def aedat4_bytes(packets, streams, compression=0, closed=True, index=b"the index"):
    """An AEDAT 4 file of packets (stream, events or bytes), compressed as asked for."""
    body = b""
    for stream, content in packets:
        packed = compressed(content if isinstance(content, bytes) else aedat4_events(content), compression)
        body += struct.pack("<ii", stream, len(packed)) + packed
    info = info_text(streams) if isinstance(streams, dict) else streams
    begin = len(aedat4_header(compression, -1, info))
    return aedat4_header(compression, begin + len(body) if closed else -1, info) + body + (index if closed else b"")


def compressed(content, compression):
    """Content as an LZ4 or Zstandard frame."""
    if compression == 0:
        return content
    sink = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(sink, "lz4" if compression < 3 else "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


def ntidigits_file(path, splits, labels="S20"):
    """An N-TIDIGITS18 file: ``splits`` maps "train" and "test" to {id: (seconds, channels)}."""
    with h5py.File(path, "w") as file:
        for split, items in splits.items():
            file.create_dataset(f"{split}_labels", data=[identifier.encode() for identifier in items] or np.zeros(0, "S1"), dtype=labels)
            for name in ("timestamps", "addresses"):
                file.create_group(f"{split}_{name}")
            for identifier, (seconds, channels) in items.items():
                file[f"{split}_timestamps/{identifier}"] = seconds
                file[f"{split}_addresses/{identifier}"] = channels
    return path
