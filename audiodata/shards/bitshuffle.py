"""Decode a chunk without HDF5 in between, by the function that HDF5's bitshuffle filter itself ends in.

HDF5 reads a chunk into one buffer, decodes it into a second and copies that to the caller; for chunks of some 10 to 100
kB this costs as much again as the decoding. The decoder is a plain C function of the filter library that hdf5plugin
ships. Before its first use in a process it has to decode chunks that HDF5 wrote; where the library can't be found or
the result differs there is no decoder, and reading goes through HDF5.
"""

import ctypes
import functools
import io
import logging
import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np

logger = logging.getLogger(__name__)

BITSHUFFLE = 32008
BLOCK_ELEMENTS = 4096
COMPRESSION = dict(hdf5plugin.Bitshuffle(nelems=BLOCK_ELEMENTS, cname="lz4"))
HEADER_BYTES = 12
# (address of the packed blocks, address of the result, elements, bytes per element, elements per block) -> packed bytes
# used
Decoder = Callable[[int, int, int, int, int], int]
_block_length = struct.Struct(">I").unpack_from


@functools.cache
def find_decoder() -> Decoder | None:
    """Return the decoder, or None where reading has to go through HDF5."""
    if sys.byteorder != "little" or not hasattr(os, "preadv"):
        return None
    try:
        decoder = _load()
    except (OSError, AttributeError, KeyError, TypeError) as error:
        logger.info("chunks are read through HDF5: no decoder in hdf5plugin's library (%s)", error)
        return None
    if not all(_agrees(decoder, dtype) for dtype in ("uint8", "float32", "int64")):
        logger.warning("chunks are read through HDF5: hdf5plugin's decoder does not do what was expected of it")
        return None
    return decoder


def _load() -> Decoder:
    library = ctypes.CDLL(str(Path(hdf5plugin.get_config().registered_filters["bshuf"])))
    decoder = library.bshuf_decompress_lz4
    decoder.restype = ctypes.c_int64
    decoder.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_size_t]
    return decoder


def _agrees(decoder: Decoder, dtype: str) -> bool:
    """Whether the decoder gives back what HDF5 encoded, over several blocks and a remainder."""
    values = (np.arange(5003) % 251).astype(dtype)
    with h5py.File(io.BytesIO(), "w") as file:
        dataset = file.create_dataset("values", data=values, chunks=values.shape, **COMPRESSION)
        packed = dataset.id.read_direct_chunk((0,))[1]
    chunk, result = np.frombuffer(packed, np.uint8), np.zeros_like(values)
    used = decoder(
        chunk.ctypes.data + HEADER_BYTES,
        result.ctypes.data,
        values.size,
        values.itemsize,
        block_elements(packed, values.itemsize),
    )
    return used == len(packed) - HEADER_BYTES and np.array_equal(result, values)


def block_elements(packed: bytes | memoryview, itemsize: int) -> int:
    """Return the elements per block that a chunk's header states."""
    return int.from_bytes(packed[8:HEADER_BYTES], "big") // itemsize


def is_packed(dataset: h5py.Dataset) -> bool:
    """Whether bitshuffle with LZ4 is the one filter of a data set in chunks, little-endian."""
    plist = dataset.id.get_create_plist()
    if plist.get_nfilters() != 1 or dataset.dtype.str.startswith(">"):
        return False
    number, _, options, _ = plist.get_filter(0)
    return number == BITSHUFFLE and options[4:5] == (2,)


def find_flaw(packed: bytes | memoryview, chunk_bytes: int, itemsize: int) -> str:
    """Return what is wrong with the lengths inside a chunk; empty where they fit together.

    The decoder, and so HDF5's filter, trusts these lengths: a flipped bit in one leads it to any place in memory. A
    chunk is a header (decoded bytes, bytes per block), then for each block its packed length and so many bytes, then up
    to seven elements as they are.

    Parameters
    ----------
    packed : bytes-like
        The chunk.
    chunk_bytes, itemsize : int
        Bytes of the decoded chunk and of one element.
    """
    if len(packed) < HEADER_BYTES or int.from_bytes(packed[:8], "big") != chunk_bytes:
        return f"its header doesn't say that it decodes to {chunk_bytes} bytes"
    block = block_elements(packed, itemsize)
    if block < 8 or block % 8:
        return f"its header says {block} elements to a block, not a multiple of 8"
    elements = chunk_bytes // itemsize
    position, end = HEADER_BYTES, len(packed) - elements % 8 * itemsize
    for _ in range(elements // block + (elements % block >= 8)):
        if position + 4 > end:
            break
        position += 4 + _block_length(packed, position)[0]
    return "" if position == end else "the lengths of its blocks don't add up"


def unpack(decoder: Decoder, packed: bytes | memoryview, address: int, out: np.ndarray) -> str:
    """Decode a chunk and return what is wrong with it; empty where nothing is.

    Parameters
    ----------
    decoder : callable
        What `find_decoder` gave.
    packed : bytes-like
        The chunk.
    address : int
        Where it lies in memory.
    out : array
        Filled with the decoded chunk; C-contiguous, of its size.
    """
    if flaw := find_flaw(packed, out.nbytes, out.itemsize):
        return flaw
    used = decoder(address + HEADER_BYTES, out.ctypes.data, out.size, out.itemsize, block_elements(packed, out.itemsize))
    return "" if used == len(packed) - HEADER_BYTES else "a block is damaged"
