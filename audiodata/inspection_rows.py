"""How inspections are written down: in columns, a batch at a time, as Arrow has them, so that millions are read in seconds."""

import json
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields

import numpy as np
import pyarrow as pa

from audiodata.cleaning import Measurements
from audiodata.findings import HASH_BYTES
from audiodata.records import Inspection

VERSION = 2  # raised when what is measured changes, or how it is written down: what is remembered is then inspected again
ROWS_AT_ONCE = 20_000
CHECKSUM_BYTES = 4  # at the end of a batch
HASHES, COUNTS = ("sha256", "content_sha256"), {"sample_rate": "q", "channels": "q", "samples": "q"}
MEASURED = {field.name: "?" if field.type is bool else "d" for field in fields(Measurements) if field.name not in HASHES}
_NUMBERS = COUNTS | MEASURED
SOUND = np.dtype([(name, np.uint8, HASH_BYTES) for name in HASHES] + [(name, f"<{kind}") for name, kind in _NUMBERS.items()])
_PACKED = struct.Struct(f"<{len(HASHES) * f'{HASH_BYTES}s'}{''.join(_NUMBERS.values())}")
# what a clip's inspection hangs on, and what was found: `SOUND` of a sound that could be read and measured as a whole, else JSON
SCHEMA = pa.schema([("clip_id", pa.large_string()), ("key", pa.large_string()), ("sound", pa.binary(SOUND.itemsize)), ("other", pa.large_string())])


def write_batch(clip_ids: Sequence[str], keys: Sequence[str], found: Sequence[Inspection]) -> bytes:
    """Write down what was found of some clips, each with what it hangs on."""
    sounds = [_packed(one) if _is_sound(one) else None for one in found]
    others = [None if sound else _as_json(one) for sound, one in zip(sounds, found, strict=True)]
    columns = [pa.array(values, kind) for values, kind in zip((clip_ids, keys, sounds, others), SCHEMA.types, strict=True)]
    written = pa.record_batch(columns, schema=SCHEMA).serialize().to_pybytes()
    return written + _checksum(written)


def _checksum(written: bytes | memoryview) -> bytes:
    return zlib.crc32(written).to_bytes(CHECKSUM_BYTES, "little")


def _is_sound(found: Inspection) -> bool:
    is_whole = found.measured.keys() == MEASURED.keys() and None not in found.measured.values()
    return is_whole and not found.reason and not found.detail and not found.shape and bool(found.sha256 and found.content_sha256)


def _as_json(found: Inspection) -> str:
    """JSON of what was found, the same for all clips of which the same was found, as of files that are missing."""
    return json.dumps(found._replace(clip_id="", stamp="")._asdict(), allow_nan=False)


def _packed(found: Inspection) -> bytes:
    hashes = (bytes.fromhex(getattr(found, name)) for name in HASHES)
    return _PACKED.pack(*hashes, *(getattr(found, name) for name in COUNTS), *(found.measured[name] for name in MEASURED))


def read_batches(batches: Iterable[bytes]) -> Iterator[pa.RecordBatch]:
    """Read what `write_batch` wrote, small batches put together.

    Raises
    ------
    ValueError
        A batch is not what was written.
    """
    some, rows = [], 0
    for batch in batches:
        some.append(_read_batch(memoryview(batch)))
        rows += len(some[-1])
        if rows >= ROWS_AT_ONCE:
            yield pa.concat_batches(some)
            some, rows = [], 0
    if some:
        yield pa.concat_batches(some)


def _read_batch(batch: memoryview) -> pa.RecordBatch:
    written, checksum = batch[:-CHECKSUM_BYTES], batch[-CHECKSUM_BYTES:]
    if checksum != _checksum(written):  # a damaged one would make Arrow read beyond its end
        raise ValueError("a batch does not have the checksum that it was written with")
    return pa.ipc.read_record_batch(pa.py_buffer(written), SCHEMA)


def read_sounds(sounds: pa.FixedSizeBinaryArray) -> np.ndarray:
    """Read the column ``sound``, which must have no gaps, as one array of `SOUND`, [clip]."""
    return np.frombuffer(sounds.buffers()[1], dtype=SOUND)[sounds.offset : sounds.offset + len(sounds)]


def read_sound(clip_id: str, sound: bytes) -> Inspection:
    """Read what was found of one sound."""
    values = _PACKED.unpack(sound)
    hashes = {name: value.hex() for name, value in zip(HASHES, values, strict=False)}
    numbers = dict(zip(_NUMBERS, values[len(HASHES) :], strict=True))
    return Inspection(clip_id, **hashes, **{name: numbers.pop(name) for name in COUNTS}, measured=numbers)


def read_others(others: pa.LargeStringArray) -> tuple[list[Inspection], np.ndarray]:
    """Read the column ``other``, which must have no gaps, each different text once.

    Returns
    -------
    list of Inspection
        Without the clip's id.
    array of int64, shape [clip]
        Which of them each clip has.
    """
    encoded = others.dictionary_encode()
    different = map(json.loads, encoded.dictionary.to_pylist())
    return [Inspection(**{**one, "shape": tuple(one["shape"])}) for one in different], encoded.indices.to_numpy().astype(np.int64)
