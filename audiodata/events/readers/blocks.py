"""Files of equally long records, read block by block, so that the bytes are still in the processor's cache when they are decoded."""

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

_RECORDS = 1 << 16  # a block


def blocks(file: BinaryIO, record_bytes: int, records: int) -> Iterator[np.ndarray]:
    """Read whole records.

    Parameters
    ----------
    file : binary file
        At the first record.
    record_bytes : int
    records : int
        How many there are; a file that has become shorter meanwhile gives fewer.

    Yields
    ------
    uint8 [byte]
        The next records; overwritten by the block after.
    """
    buffer = np.empty(min(records, _RECORDS) * record_bytes, np.uint8)
    while records:
        part = memoryview(buffer)[: min(records, _RECORDS) * record_bytes]
        got = file.readinto(part) // record_bytes
        if not got:
            return
        records -= got
        yield buffer[: got * record_bytes]
