"""The ledger with two million clips, and one verdict recorded against the usual way: a status column in a CSV that is rewritten.

    python tests/benchmarks/bench_ledger.py [CLIPS]
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from audiodata.ledger import Ledger
from audiodata.records import ClipRow

CSV_CLIPS = 22_160  # the balanced list


def timed(work):
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main(clips):
    folder = Path(tempfile.mkdtemp())
    ids = [f"{number * 2654435761 % 2**32:08x}abc_30000" for number in range(clips)]
    with Ledger(folder / "ledger.sqlite") as ledger:
        print(f"{clips} clips")
        print(f"add          {timed(lambda: ledger.add(ids)):8.2f} s")
        ledger.record(ClipRow(clip_id, "failed", "network") for clip_id in ids[::7])
        print(f"counts       {statistics.median(timed(ledger.counts) for _ in range(20)) * 1e3:8.2f} ms")
        one = statistics.median(timed(lambda clip_id=clip_id: ledger.between(ClipRow._fields, clip_id, clip_id)) for clip_id in ids[:1000])
        print(f"one clip     {one * 1e3:8.2f} ms")
        print(f"what is left {timed(lambda: ledger.clip_ids('pending')):8.2f} s")
        print(f"all states   {timed(lambda: ledger.table(['clip_id', 'status', 'reason'], ledger.counts())):8.2f} s")
    compare(folder, ids[:CSV_CLIPS])


def compare(folder, ids):
    table = pd.DataFrame({"clip_id": ids, "status": "pending", "reason": ""})

    def rewrite(clip_id):
        table.loc[table["clip_id"] == clip_id, ["status", "reason"]] = ["failed", "private"]
        table.to_csv(folder / "usual.csv", index=False)

    with Ledger(folder / "small.sqlite") as ledger:
        ledger.add(ids)
        ours, usual = [], []
        for clip_id in ids[:30]:  # alternating, so that both meet the same machine
            ours.append(timed(lambda one=clip_id: ledger.record([ClipRow(one, "failed", "private")])))
            usual.append(timed(lambda one=clip_id: rewrite(one)))
    ours_s, usual_s = statistics.median(ours), statistics.median(usual)
    print(f"one verdict among {len(ids)}: ledger {ours_s * 1e3:.2f} ms, CSV rewritten {usual_s * 1e3:.2f} ms, ratio {usual_s / ours_s:.1f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2_000_000)
