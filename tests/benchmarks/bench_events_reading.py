"""Reading event files: ours and a peer's in one run, alternating, medians.

Usage: python tests/benchmarks/bench_events_reading.py [--events 10000000] [--rounds 7]

Prints events per second of CPU time of the one thread that reads, medians; the files lie in the page cache. Peers: for
AEDAT 2.0, numpy doing the same steps (read, swap bytes, mask, unwrap), since tonic's own reader of the DVS128 fails (1.7.0
raises ValueError); for N-MNIST, `tonic.io.read_mnist_file`; for AEDAT 4, the package `aedat` where it is installed.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np
from made_events import aedat2_bytes, headerless_bytes, nmnist_bytes, random_dvs128

from audiodata.events.readers import read_events
from audiodata.events.record import EVENT_2D

TARGET = 80e6


def numpy_aedat2(path):
    """The same recording by numpy calls alone."""
    with path.open("rb") as file:
        while file.peek(1)[:1] == b"#":
            file.readline()
        words = np.fromfile(file, ">u4").astype(np.uint32).reshape(-1, 2)
    words = words[words[:, 0] & 0x8000 == 0]
    address, stamp = words[:, 0], words[:, 1]
    wraps = np.zeros(len(stamp), np.int64)
    wraps[1:] = np.cumsum(np.diff(stamp.astype(np.int64)) < -(1 << 31))
    events = np.empty(len(words), EVENT_2D)
    events["t"] = stamp + (wraps << 32)
    events["x"], events["y"], events["p"] = 127 - (address >> 8 & 127), 127 - (address >> 1 & 127), 1 - (address & 1)
    return events


def tonic_nmnist(path):
    from tonic.io import read_mnist_file

    return read_mnist_file(str(path), dtype=EVENT_2D)


def aedat_package(path):
    import aedat

    decoder = aedat.Decoder(str(path))
    return np.concatenate([packet["events"] for packet in decoder if packet["stream_id"] == 0])


def alternating(first, second, rounds):
    """Median CPU seconds of both, one after the other in turn; both are called once beforehand."""
    times = ([], [])
    for number in range(rounds + 1):
        for function, taken in zip((first, second), times, strict=True):
            start = time.thread_time()
            function()
            if number:
                taken.append(time.thread_time() - start)
    return [statistics.median(taken) for taken in times]


def compare(title, path, reader, peer, peer_name, rounds):
    events = len(read_events(path, reader).array)
    ours, theirs = alternating(lambda: read_events(path, reader), lambda: peer(path), rounds)
    rates = f"ours {events / ours / 1e6:7.1f} M/s  {peer_name} {events / theirs / 1e6:7.1f} M/s"
    print(f"{title:12} {events:>10,} events  {rates}  {theirs / ours:5.1f}x")
    return events / ours


def alone(title, path, reader, rounds):
    events = len(read_events(path, reader).array)
    ours, _ = alternating(lambda: read_events(path, reader), lambda: None, rounds)
    print(f"{title:12} {events:>10,} events  ours {events / ours / 1e6:7.1f} M/s")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events"
        path.write_bytes(aedat2_bytes(*random_dvs128(rng, asked.events)))
        assert np.array_equal(read_events(path, {"format": "aedat2"}).array, numpy_aedat2(path))
        rate = compare("AEDAT 2.0", path, {"format": "aedat2"}, numpy_aedat2, "numpy", asked.rounds)
        print(f"             target {TARGET / 1e6:.0f} M/s: {'reached' if rate >= TARGET else 'MISSED'}")
        few = asked.events // 10
        x, y, p = (rng.integers(0, size, few) for size in (34, 34, 2))
        path.write_bytes(nmnist_bytes(np.sort(rng.integers(0, 1 << 23, few)), x, y, p))
        compare("N-MNIST", path, {"format": "nmnist"}, tonic_nmnist, "tonic", asked.rounds)
        for address_bytes, tick_us in ((2, 0.2), (4, 1.0)):
            stamps = np.cumsum(rng.integers(0, 40, asked.events))
            path.write_bytes(headerless_bytes(rng.integers(0, 128, asked.events), stamps, address_bytes))
            alone(f"cochlea {address_bytes} B", path, {"format": "headerless", "address_bytes": address_bytes, "tick_us": tick_us}, asked.rounds)
    sample = ROOT.parent / "shared" / "data" / "events" / "aedat4" / "sample.aedat4"
    if sample.is_file():
        try:
            compare("AEDAT 4", sample, {"format": "aedat4"}, aedat_package, "aedat", asked.rounds)
        except ImportError:
            alone("AEDAT 4", sample, {"format": "aedat4"}, asked.rounds)


if __name__ == "__main__":
    main()
