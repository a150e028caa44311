"""What a sound file says about itself: which container it is, and whether it is shorter than its own header promises.

Decoders are forgiving: of a WAV that was cut in half, libsndfile returns half and no error. The checks here read the
container's own length fields, a few hundred bytes of each file.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO

HEAD_BYTES = 512
"""How much of a file's beginning `container` wants to see."""

_MAGIC = (
    (b"fLaC", "flac"),
    (b"OggS", "ogg"),
    (b"RF64", "wav"),
    (b".snd", "au"),
    (b"caff", "caf"),
    (b"riff\x2e\x91\xcf\x11", "w64"),
    (b"NIST_1A", "nist"),
    (b"Creative Voice File", "voc"),
    (b"\x1aE\xdf\xa3", "matroska"),
    (b"ID3", "mp3"),
)
# Lengths that mean "not known when the header was written": ffmpeg writes all ones into a pipe, sox 0x7FFFF000.
_UNKNOWN_32 = {0xFFFFFFFF, 0x7FFFF000, 0x7FFFFFFF, 0x80000000}
_UNKNOWN_64 = {0, 0xFFFFFFFFFFFFFFFF}
_OGG_TAIL = 2 * 65307  # two pages of the greatest size
_OGG_LAST_PAGE = 0x04


def container(head: bytes) -> str:
    """Name the container by its first bytes; the file's name has no say.

    Parameters
    ----------
    head : bytes
        The first `HEAD_BYTES` of the file, or all of a shorter one.

    Returns
    -------
    str
        ``wav``, ``aiff``, ``flac``, ``ogg``, ``mp3``, ``au``, ``caf``, ``w64``, ``nist``, ``voc``, ``mp4`` or
        ``matroska``; ``text`` for readable text, ``""`` for anything else.
    """
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if head[:4] in (b"RIFF", b"RIFX") and b"WAVE".startswith(head[8:12]):
        return "wav"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "aiff"
    if head[4:8] in (b"ftyp", b"moov", b"mdat"):
        return "mp4"
    if _is_mp3_frame(head):
        return "mp3"
    return "text" if _is_text(head) else ""


def shortfall(file: BinaryIO, size: int, kind: str) -> str:
    """Say by how much a file is shorter than its own header promises.

    Parameters
    ----------
    file : binary file
        Open for reading; its position is moved.
    size : int
        Bytes in the file.
    kind : str
        From `container`. CAF and W64 have no check here, and of FLAC only the head is looked at: decoding has to tell.

    Returns
    -------
    str
        Expected and got; empty where the file is complete, where its length was not known when it was written, and
        where there is no check.
    """
    check = _CHECKS.get(kind)
    return check(file, size) if check else ""


def states_mp3_length(file: BinaryIO) -> bool:
    """Tell whether an MP3 has the header (Xing, Info) that states its exact length; else it can only be estimated."""
    return bool(_xing(file)[1])


def _is_mp3_frame(head: bytes) -> bool:
    """Recognise an MPEG layer III frame: sync, layer, and a version, bit rate and sample rate that exist."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return False
    return head[1] & 0x18 != 0x08 and head[2] & 0xF0 not in (0x00, 0xF0) and head[2] & 0x0C != 0x0C


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8", errors="strict")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # a character cut at the end of `head` is no sign against text
            return False
        text = head[: error.start].decode("utf-8")
    return bool(text) and all(letter.isprintable() or letter in "\t\r\n\f\ufeff" for letter in text)


def _read_at(file: BinaryIO, offset: int, count: int) -> bytes:
    file.seek(offset)
    return file.read(count)


def _chunks(file: BinaryIO, size: int, order: str) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, offset and length of each chunk of a RIFF or FORM file, the last one cut or not."""
    offset = 12
    while offset + 8 <= size:
        name, length = struct.unpack(f"{order}4sI", _read_at(file, offset, 8))
        yield name, offset + 8, length
        offset += 8 + length + length % 2


def _missing(what: str, promised: int, there: int) -> str:
    return f"its header promises {promised} bytes of {what}, {there} are there" if there < promised else ""


def _wav_shortfall(file: BinaryIO, size: int) -> str:
    magic, unknown = _read_at(file, 0, 4), _UNKNOWN_32
    order = ">" if magic == b"RIFX" else "<"
    long_length = None
    for name, start, length in _chunks(file, size, order):
        if name == b"ds64":
            long_length = int.from_bytes(_read_at(file, start + 8, 8), "little")
        if name == b"data" and length == 0xFFFFFFFF and long_length is not None:
            length, unknown = long_length, _UNKNOWN_64
        if name == b"data":
            return "" if length in unknown else _missing("samples", length, size - start)
    return f"it ends after {size} bytes, before any samples"


def _aiff_shortfall(file: BinaryIO, size: int) -> str:
    for name, start, length in _chunks(file, size, ">"):
        if name == b"SSND":
            return "" if length in _UNKNOWN_32 else _missing("samples", length, size - start)
    return f"it ends after {size} bytes, before any samples"


def _au_shortfall(file: BinaryIO, size: int) -> str:
    head = _read_at(file, 4, 8)
    if len(head) < 8:
        return f"it ends after {size} bytes, before any samples"
    start, length = struct.unpack(">II", head)
    return "" if length in _UNKNOWN_32 else _missing("samples", length, max(size - start, 0))


def _flac_shortfall(file: BinaryIO, size: int) -> str:
    """Walk the metadata blocks; whether all frames are there, only decoding can tell."""
    offset, last, total = 4, False, 0
    while not last and offset + 4 <= size:
        kind, *length = _read_at(file, offset, 4)
        if offset == 4:
            total = int.from_bytes(_read_at(file, 21, 5), "big") & 0xFFFFFFFFF  # the last 36 bits of these 40
        offset, last = offset + 4 + int.from_bytes(length, "big"), bool(kind & 0x80)
    if not last or offset > size or (offset == size and total):
        return f"it ends after {size} bytes, before any samples"
    return ""


def _ogg_shortfall(file: BinaryIO, size: int) -> str:
    """Look at the last page: complete, and marked as the last (RFC 3533, section 6)."""
    start = max(0, size - _OGG_TAIL)
    tail = _read_at(file, start, size - start)
    at = tail.rfind(b"OggS\x00")
    if at < 0:
        return f"it ends inside the first page, after {size} bytes" if start == 0 else ""
    page = tail[at:]
    length = 27 + page[26] + sum(page[27 : 27 + page[26]]) if len(page) > 26 else 27
    if len(page) < length or len(page) < 27 + page[26]:
        return f"its last page promises {length} bytes, {len(page)} are there"
    return "" if page[5] & _OGG_LAST_PAGE else f"it ends after {size} bytes without a page that is marked as the last"


def _mp4_shortfall(file: BinaryIO, size: int) -> str:
    offset, names = 0, set()
    while offset + 8 <= size:
        length, name = struct.unpack(">I4s", _read_at(file, offset, 8))
        if length == 1:
            length = int.from_bytes(file.read(8), "big")
        length = size - offset if length == 0 else max(length, 8)
        if offset + length > size:
            return f"its {name.decode('latin-1')!r} box promises {length} bytes, {size - offset} are there"
        names.add(name)
        offset += length
    return "" if b"moov" in names else f"it ends after {size} bytes, before its index (no 'moov' box)"


def _matroska_shortfall(file: BinaryIO, size: int) -> str:
    """Look at the segment, which holds all there is; its length is all ones where the file was written into a pipe."""
    header_length, start = _ebml_length(_read_at(file, 0, 16), 4)
    at = start + header_length
    length, start = _ebml_length(_read_at(file, min(at, size), 16), 4)
    if at + start > size:
        return f"it ends after {size} bytes, before any samples"
    return "" if length < 0 else _missing("content", length, size - at - start)


def _ebml_length(data: bytes, at: int) -> tuple[int, int]:
    """Length of an EBML element (RFC 8794, section 4; -1 where it is not known) and the offset of its content."""
    width = 9 - data[at].bit_length() if at < len(data) else 8
    bits = (1 << 7 * width) - 1
    value = int.from_bytes(data[at : at + width], "big") & bits
    return -1 if value == bits else value, at + width


def _xing(file: BinaryIO) -> tuple[int, int, int]:
    """Offset of the first MP3 frame, and the frames and bytes that its Xing or Info header states (0: not stated)."""
    tag = _read_at(file, 0, 10)
    start = 0
    if tag[:3] == b"ID3" and len(tag) == 10:
        start = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(tag[6:], (21, 14, 7, 0), strict=True))
    frame = _read_at(file, start, 64)
    at = max(frame.find(b"Xing"), frame.find(b"Info"))
    if at < 0 or len(frame) < at + 16:
        return start, 0, 0
    flags, *fields = struct.unpack(">III", frame[at + 4 : at + 16])
    frames = fields.pop(0) if flags & 1 else 0
    return start, frames, fields[0] if flags & 2 else 0


def _mp3_shortfall(file: BinaryIO, size: int) -> str:
    start, _, length = _xing(file)
    return _missing("sound", length, max(size - start, 0))


_CHECKS = {
    "wav": _wav_shortfall,
    "aiff": _aiff_shortfall,
    "au": _au_shortfall,
    "flac": _flac_shortfall,
    "ogg": _ogg_shortfall,
    "mp4": _mp4_shortfall,
    "matroska": _matroska_shortfall,
    "mp3": _mp3_shortfall,
}
