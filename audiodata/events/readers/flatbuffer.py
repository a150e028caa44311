"""The little of FlatBuffers that AEDAT 4 needs: fields of a root table. Every offset is checked, since files come from strangers.

A table begins with the signed distance back to its vtable: its own length, the table's length, and the place of each field in the table, 16 bits
each, 0 for a field that is left out. Strings, vectors and tables lie at an unsigned distance from the field. All little-endian.
"""

import struct


class Table:
    """The root table of a buffer.

    Parameters
    ----------
    buffer : bytes
        Without a size in front.

    Raises
    ------
    ValueError
        Here and from all methods: an offset leads out of the buffer.
    """

    def __init__(self, buffer: bytes):
        self._buffer = buffer
        self._at = self._number("<I", 0)
        self._vtable = self._at - self._number("<i", self._at)
        self._vtable_bytes = self._number("<H", self._vtable)

    def number(self, field: int, layout: str, default: int) -> int:
        """Return a scalar; `layout` is of `struct`, the default holds where the field is left out."""
        at = self._field(field)
        return default if at is None else self._number(layout, at)

    def vector(self, field: int) -> tuple[int, int]:
        """Return the number of elements of a vector and where the first lies in the buffer; no elements where the field is left out."""
        at = self._field(field)
        if at is None:
            return 0, 0
        start = at + self._number("<I", at)
        return self._number("<I", start), start + 4

    def text(self, field: int) -> bytes:
        """Return the bytes of a string."""
        length, start = self.vector(field)
        if start + length > len(self._buffer):
            raise ValueError(f"a text of {length} bytes at {start} of {len(self._buffer)}")
        return self._buffer[start : start + length]

    def _field(self, field: int) -> int | None:
        slot = 4 + 2 * field
        if slot + 2 > self._vtable_bytes:
            return None
        offset = self._number("<H", self._vtable + slot)
        return self._at + offset if offset else None

    def _number(self, layout: str, at: int) -> int:
        if not 0 <= at <= len(self._buffer) - struct.calcsize(layout):
            raise ValueError(f"an offset to {at} of {len(self._buffer)} bytes")
        return struct.unpack_from(layout, self._buffer, at)[0]
