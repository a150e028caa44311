"""The loops of the readers, in machine code: bytes in, events out as pairs of 64-bit words (see `audiodata.events.readers.base.as_events`).

A file is read block by block, so each loop carries on from a state, whose fields are named below. Unsigned indices and differences are for speed:
an unsigned index can't count from the end, and a negative difference becomes a large one, so that one comparison does for both sides.
"""

from typing import NamedTuple

import numpy as np

from audiodata.compilation import compiled

WRITTEN, LAST_TIME, SHIFT, LATE, SEEN = range(5)
OVERFLOW_ROW, OVERFLOW_US = 240, 1 << 13


class Layout(NamedTuple):
    """What the bits of an address mean, and how long a tick is.

    Attributes
    ----------
    special : int
        Events with one of these bits are left out.
    x_shift, x_mask : int
        ``address >> x_shift & x_mask`` is x.
    first, end : int
        Half-open range of x to keep; counted from `first` in what is written.
    y_shift, y_mask : int
        The same for y, which has no range.
    p_mask, p_place : int
        Bits of the polarity, and where it goes in the packed event.
    flips : int
        Bits of the packed event to turn over: mirrored axes (127 - v is v ^ 127), inverted polarity.
    tick_numerator, tick_denominator : int
        A tick in microseconds as a fraction; times are rounded down.
    """

    special: int
    x_shift: int
    x_mask: int
    first: int
    end: int
    y_shift: int
    y_mask: int
    p_mask: int
    p_place: int
    flips: int
    tick_numerator: int = 1
    tick_denominator: int = 1


def new_state() -> np.ndarray:
    """State before the first event: int64 [field]."""
    return np.zeros(5, np.int64)


@compiled
def addressed(content, out, state, layout):
    """Decode events of an address and a 32-bit timestamp.

    Time is unwrapped: a step back by more than half the counter's range is a wrap, and once it has wrapped, a step forward by more than
    that is an event from before the wrap which came late.

    Parameters
    ----------
    content : uint8 [byte]
        Eight bytes an event: address and timestamp, both big-endian.
    out : int64 [word]
        Two words an event; filled from ``2 * state[WRITTEN]`` on.
    state : int64 [field]
        ``state[SEEN]`` keeps the largest address.
    layout : Layout
    """
    written, last, shift, late, seen = state[0], state[1], state[2], state[3], state[4]
    kept = np.uint64(layout.end - layout.first)
    numerator, denominator = layout.tick_numerator, layout.tick_denominator
    whole_us = numerator == 1 and denominator == 1
    tick_us = numerator / denominator
    for record in range(content.size // 8):
        address, stamp = np.int64(0), np.int64(0)
        for byte in range(4):
            address = address << 8 | np.int64(content[np.uint64(8 * record + byte)])
            stamp = stamp << 8 | np.int64(content[np.uint64(8 * record + 4 + byte)])
        seen = max(seen, address)
        x = address >> layout.x_shift & layout.x_mask
        if address & layout.special or np.uint64(x - layout.first) >= kept:
            continue
        time = stamp + shift
        step = time - last
        if np.uint64(step) > np.uint64(0x80000000):
            if step < -0x80000000:
                shift += 0x100000000
                time += 0x100000000
            elif step < 0:
                late += 1
            elif shift > 0:
                time -= 0x100000000
                late += 1
        last = time
        if not whole_us:
            time = np.int64(last * tick_us)  # one off at most, where the product is next to a whole number
            rest = last * numerator - time * denominator
            time += (rest >= denominator) - (rest < 0)
        out[np.uint64(2 * written)] = time
        packed = (x - layout.first) | (address >> layout.y_shift & layout.y_mask) << 16 | (address & layout.p_mask) << layout.p_place
        out[np.uint64(2 * written + 1)] = packed ^ layout.flips
        written += 1
    state[0], state[1], state[2], state[3], state[4] = written, last, shift, late, seen


@compiled
def lengthened(content, out):
    """Turn records of a two-byte address and a timestamp into records with four-byte addresses.

    Parameters
    ----------
    content : uint8 [byte]
        Six bytes an event.
    out : uint8 [byte]
        Eight bytes an event, zero before.
    """
    for record in range(content.size // 6):
        for byte in range(6):
            out[np.uint64(8 * record + 2 + byte)] = content[np.uint64(6 * record + byte)]


@compiled
def saccades(content, out, state, columns, rows):
    """Decode the five-byte events of N-MNIST and N-Caltech101.

    Parameters
    ----------
    content : uint8 [byte]
        Whole records.
    out : int64 [word]
        Two words an event; filled from ``2 * state[WRITTEN]`` on.
    state : int64 [field]
        ``state[SEEN]`` counts the events outside the sensor.
    columns, rows : int
    """
    written, last, shift, late, outside = state[0], state[1], state[2], state[3], state[4]
    for at in range(0, content.size, 5):
        x, y, upper = np.int64(content[at]), np.int64(content[at + 1]), np.int64(content[at + 2])
        if y == OVERFLOW_ROW:
            shift += OVERFLOW_US
            continue
        time = ((upper & 127) << 16 | np.int64(content[at + 3]) << 8 | np.int64(content[at + 4])) + shift
        if time < last - 0x400000:  # half of 2 ** 23 us
            shift += 0x800000
            time += 0x800000
        late += time < last
        last = time
        outside += x >= columns or y >= rows
        out[np.uint64(2 * written)] = time
        out[np.uint64(2 * written + 1)] = x | y << 16 | (upper >> 7) << 32
        written += 1
    state[0], state[1], state[2], state[3], state[4] = written, last, shift, late, outside
