"""SHA-256 of many short texts at once, such as the names of clips; for a short text a call of `hashlib` is mostly the call."""

import hashlib
import math
from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from audiodata.compilation import compiled

ENOUGH = 100_000  # texts that are worth the compiler, which takes seconds where its work can't be kept
AT_ONCE = 1024  # texts: what the kernel holds of them stays in the processor's cache
BLOCK, LENGTH_BYTES = 64, 8  # what the hash takes in at a time, and the length at the end of the last block
BYTES = pa.large_binary()


def first_words(texts: Iterable[str], prefix: bytes = b"") -> np.ndarray:
    """First 8 bytes, big-endian, of the SHA-256 of each text in UTF-8.

    Parameters
    ----------
    texts : Series, Arrow array or iterable of str, shape [text]
    prefix : bytes, optional
        Hashed before each text.

    Returns
    -------
    array of uint64, shape [text]

    Examples
    --------
    >>> [f"{word:016x}" for word in first_words(["", "abc"])]
    ['e3b0c44298fc1c14', 'ba7816bf8f01cfea']
    """
    array = texts if isinstance(texts, pa.Array | pa.ChunkedArray) else pa.array(texts, pa.large_string())
    if array.null_count:
        raise TypeError("a text that is missing has no hash")
    array = array.combine_chunks().cast(BYTES) if isinstance(array, pa.ChunkedArray) else array.cast(BYTES)
    return by_kernels(array, prefix) if len(array) >= ENOUGH else one_by_one(array, prefix)


def unit_hashes(seed: int, purpose: str, words: Iterable[str]) -> np.ndarray:
    """`audiodata.fingerprint.unit_hash` of ``(purpose, word)`` for many words at once, bit for bit the same.

    Parameters
    ----------
    seed : int
        From the catalog.
    purpose : str
        What the numbers are for, e.g. ``"split"``.
    words : iterable of str
        One number is made for each.

    Returns
    -------
    array of float64, shape [word]
    """
    hashes = first_words(words, f"{int(seed)}\x1f{purpose}\x1f".encode())
    return (hashes >> np.uint64(8)).astype(np.float64) / 2**56


def one_by_one(texts: pa.LargeBinaryArray, prefix: bytes) -> np.ndarray:
    """`first_words`, by `hashlib`."""
    digests = b"".join([hashlib.sha256(prefix + text).digest()[:8] for text in texts.to_pylist()])
    return np.frombuffer(digests, dtype=">u8").astype(np.uint64)


def by_kernels(texts: pa.LargeBinaryArray, prefix: bytes) -> np.ndarray:
    """`first_words`, by loops over many texts at each step of the hash; texts that take equally many blocks go together."""
    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets or b"", dtype=np.int64)[texts.offset : texts.offset + len(texts) + 1]
    letters, before = _read_only(data or b""), _read_only(prefix)
    blocks = (np.diff(ends) + len(prefix) + LENGTH_BYTES) // BLOCK + 1
    hashes = np.empty(len(texts), dtype=np.uint64)
    for count in np.unique(blocks):
        alike = np.flatnonzero(blocks == count)
        for rows in (alike[at : at + AT_ONCE] for at in range(0, len(alike), AT_ONCE)):
            words = np.zeros((count, len(_ROUND), len(rows)), dtype=np.uint32)
            _fill(letters, ends[rows], ends[rows + 1], before, words)
            hashes[rows] = _hashed(words)
    return hashes


def _read_only(data: pa.Buffer | bytes) -> np.ndarray:
    """Bytes as an array of one kind, since Arrow has buffers of two, and the compiler would make a loop for each."""
    letters = np.frombuffer(data, dtype=np.uint8)
    letters.flags.writeable = False
    return letters


def _hashed(words: np.ndarray) -> np.ndarray:
    """First 8 bytes of the hash of each message, uint32 [block, round, text] with the first 16 of the rounds filled in."""
    state = np.repeat(_START[:, None], words.shape[2], axis=1)
    for block in words:
        _expand(block)
        _take_in(block, _ROUND, state)
    return state[0].astype(np.uint64) << np.uint64(32) | state[1]


@compiled
def _fill(letters, begins, ends, prefix, words):
    """Write each message and what the standard ends it with: 0x80, zeros, and its length in bits.

    Parameters
    ----------
    letters : uint8 [byte]
    begins, ends : int64 [text]
        Where each text is among them.
    prefix : uint8 [byte]
    words : uint32 [block, round, text]
        Zeros, to be filled in.
    """
    for i in range(begins.size):
        for at in range(prefix.size):
            words[at >> 6, at >> 2 & 15, i] |= prefix[at] << (24 - 8 * (at & 3))
        for place in range(begins[i], ends[i]):
            at = prefix.size + place - begins[i]
            words[at >> 6, at >> 2 & 15, i] |= letters[place] << (24 - 8 * (at & 3))
        size = prefix.size + ends[i] - begins[i]
        words[size >> 6, size >> 2 & 15, i] |= 0x80 << (24 - 8 * (size & 3))
        words[-1, 14, i], words[-1, 15, i] = size >> 29, size << 3


@compiled
def _expand(words):
    """Make the words of the later rounds from those of the first 16.

    Parameters
    ----------
    words : uint32 [round, text]
    """
    for t in range(16, len(words)):
        new, sixteenth, seventh, x, y = words[t], words[t - 16], words[t - 7], words[t - 15], words[t - 2]
        for i in range(new.size):
            low = (x[i] >> 7 | x[i] << 25) ^ (x[i] >> 18 | x[i] << 14) ^ x[i] >> 3
            high = (y[i] >> 17 | y[i] << 15) ^ (y[i] >> 19 | y[i] << 13) ^ y[i] >> 10
            new[i] = sixteenth[i] + seventh[i] + low + high


@compiled
def _take_in(words, constants, state):
    """Take in a block of each message; each step runs over all texts, so that the processor does several at once.

    Parameters
    ----------
    words : uint32 [round, text]
    constants : uint32 [round]
    state : uint32 [8, text]
    """
    rounds, texts = words.shape
    # the standard's eight variables are four states of two: "a" of each round, and "e"
    a, e, first = np.empty((rounds + 4, texts), np.uint32), np.empty((rounds + 4, texts), np.uint32), np.empty(texts, np.uint32)
    for t in range(4):
        for i in range(texts):
            a[t, i], e[t, i] = state[3 - t, i], state[7 - t, i]
    for t in range(rounds):
        d, c, b, last_a, new_a = a[t], a[t + 1], a[t + 2], a[t + 3], a[t + 4]
        h, g, f, last_e, new_e = e[t], e[t + 1], e[t + 2], e[t + 3], e[t + 4]
        word, constant = words[t], constants[t]
        for i in range(texts):
            x = last_e[i]
            turned = (x >> 6 | x << 26) ^ (x >> 11 | x << 21) ^ (x >> 25 | x << 7)
            first[i] = h[i] + turned + (g[i] ^ x & (f[i] ^ g[i])) + constant + word[i]
        for i in range(texts):
            new_e[i] = d[i] + first[i]
        for i in range(texts):
            x = last_a[i]
            turned = (x >> 2 | x << 30) ^ (x >> 13 | x << 19) ^ (x >> 22 | x << 10)
            new_a[i] = first[i] + turned + (x & b[i] | c[i] & (x | b[i]))
    for t in range(4):
        for i in range(texts):
            state[3 - t, i] += a[rounds + t, i]
            state[7 - t, i] += e[rounds + t, i]


def _root_bits(degree: int, count: int) -> np.ndarray:
    """First 32 bits behind the point of the square (2) or cube roots (3) of the first primes: the constants of the standard."""
    primes = [number for number in range(2, 312) if all(number % other for other in range(2, math.isqrt(number) + 1))][:count]
    roots = [_whole_root(prime << 32 * degree, degree) for prime in primes]
    return np.array([root & 0xFFFFFFFF for root in roots], dtype=np.uint32)


def _whole_root(number: int, degree: int) -> int:
    low, high = 0, number
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**degree <= number else (low, middle - 1)
    return low


_START, _ROUND = _root_bits(2, 8), _root_bits(3, 64)
