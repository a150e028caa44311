"""The shard format: exact, the same bytes every time, complete or absent."""

import errno
import gc
import hashlib
import json
import multiprocessing
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from shard_helpers import FEATURES, TARGETS, build_cache, example, example_rows, targets, write_shard

from audiodata.errors import CacheError, EnvironmentFault
from audiodata.shards import (
    EXAMPLES_FILE,
    MANIFEST_FILE,
    Layout,
    ShardWriter,
    read_fingerprint,
    read_manifest,
    read_shard_record,
    read_shard_rows,
    remove_stale_temporaries,
    write_examples,
    write_manifest,
)
from audiodata.shards import writer as writer_module
from audiodata.shards.atomic import write_fault
from audiodata.shards.format import fixed_text
from audiodata.shards.reader import ShardIndex

FORK = multiprocessing.get_context("fork")
DTYPES = ["float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint8", "uint16", "bool"]


def read_all(path, names):
    index = ShardIndex(path)
    handle = index.open()
    return [{name: index.read(handle, row, name) for name in names} for row in range(index.examples)]


@st.composite
def columns(draw):
    dtype = draw(st.sampled_from(DTYPES))
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, max_side=9) | st.sampled_from([(5003,), (3, 4097), (70, 60)]))
    layout = Layout(shape, dtype, tuple("abc"[: len(shape)]), draw(st.sampled_from(["", "dB", "µs"])))
    rows = draw(st.integers(0, 3))
    seeds = draw(st.lists(st.integers(0, 2**32 - 1), min_size=rows, max_size=rows))
    return layout, [any_bits(layout, seed) for seed in seeds]


def any_bits(layout, seed):
    """An array of any bit patterns, so NaNs with payloads, infinities and negative zeros too."""
    data = np.random.default_rng(seed).bytes(layout.row_bytes)
    if layout.dtype == "bool":
        return np.frombuffer(data, np.uint8).reshape(layout.shape) > 127
    return np.frombuffer(data, layout.dtype).reshape(layout.shape)


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "through HDF5"])
@settings(max_examples=40, deadline=None)
@given(column=columns())
def test_round_trip_is_exact(tmp_path_factory, direct, column):
    layout, arrays = column
    path = tmp_path_factory.mktemp("shard") / "train-0000.h5"
    with ShardWriter(path, fingerprint="f", split="train", features={"x": layout}, targets={"y": layout}) as writer:
        for row, array in enumerate(arrays):
            writer.add(f"é{row}#0", {"x": array}, {"y": np.nan_to_num(array)})
    with pytest.MonkeyPatch.context() as patch:
        if not direct:
            patch.setattr("audiodata.shards.reader.find_decoder", lambda: None)
        found = read_all(path, ["/features/x", "/targets/y"])
    assert len(found) == len(arrays) == writer.record.examples
    for row, array in zip(found, arrays, strict=True):
        assert row["/features/x"].dtype == array.dtype and row["/features/x"].shape == array.shape
        assert row["/features/x"].tobytes() == array.tobytes()
        assert row["/targets/y"].tobytes() == np.nan_to_num(array).tobytes()


def test_big_endian_and_strided_input_is_stored_by_value(tmp_path):
    layout = Layout((4, 3), "float32", ("a", "b"))
    array = np.arange(12, dtype=">f4").reshape(3, 4).T
    with ShardWriter(tmp_path / "a.h5", fingerprint="", split="s", features={"x": layout}, targets={}) as writer:
        writer.add("a", {"x": array}, {})
    np.testing.assert_array_equal(read_all(tmp_path / "a.h5", ["/features/x"])[0]["/features/x"], array)


def test_structure_is_the_documented_one(tmp_path):
    write_shard(tmp_path / "train-0000.h5", range(3))
    with h5py.File(tmp_path / "train-0000.h5", "r", locking=False) as file:
        assert dict(file.attrs).keys() == {"format", "format_version", "fingerprint", "split", "content_sha256"}
        assert (file.attrs["format"], file.attrs["format_version"]) == (b"audiodata-shard", 1)
        assert sorted(file) == ["example_id", "features", "targets"]
        mfcc = file["features/mfcc"]
        assert mfcc.shape == (3, 1, 31, 20) and mfcc.chunks == (1, 1, 31, 20) and "32008" in mfcc._filters
        assert mfcc.attrs["axes"].tolist() == [b"example", b"channel", b"frame", b"coefficient"]
        assert mfcc.attrs["unit"] == b"dB"
        assert file["targets/label"][:].tolist() == [0, 1, 2] and file["targets/label"].chunks is None
        assert file["example_id"][:].tolist() == [b"clip0000#0", b"clip0001#0", b"clip0002#0"]


def test_content_hash_can_be_computed_from_the_documentation_alone(tmp_path):
    record = write_shard(tmp_path / "train-0000.h5", range(5))
    hashes = {}
    with h5py.File(tmp_path / "train-0000.h5", "r", locking=False) as file:
        for path in ("/features/mfcc", "/features/log_mel", "/targets/label", "/targets/length"):
            values = file[path][:]
            header = json.dumps([path, values.dtype.name, list(values.shape[1:])], separators=(",", ":")) + "\n"
            hashes[path] = hashlib.sha256(header.encode() + values.tobytes()).hexdigest()
        ids = b"".join(bytes(identifier) + b"\n" for identifier in file["example_id"][:])
        hashes["/example_id"] = hashlib.sha256(b'["/example_id","utf-8",[]]\n' + ids).hexdigest()
    assert record.datasets == hashes
    combined = json.dumps(hashes, sort_keys=True, separators=(",", ":"))
    assert record.content_sha256 == hashlib.sha256(combined.encode()).hexdigest()


def test_record_describes_the_file(tmp_path):
    path = tmp_path / "train-0007.h5"
    record = write_shard(path, range(4), fingerprint="ab" * 32)
    data = path.read_bytes()
    assert (record.file, record.split, record.examples) == ("train-0007.h5", "train", 4)
    assert (record.bytes, record.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert record == read_shard_record(path)
    assert read_fingerprint(path) == record.fingerprint == "ab" * 32
    rows = read_shard_rows(path)
    assert rows["example_id"].tolist() == [f"clip{seed:04d}#0" for seed in range(4)]
    assert rows["length"].tolist() == [8000, 8001, 8002, 8003]


BUILD = """
import sys
sys.path[:0] = {paths!r}
from pathlib import Path
from shard_helpers import FEATURES, TARGETS, example, targets
from audiodata.shards import ShardWriter
order = {order}
with ShardWriter(Path({path!r}), fingerprint="f", split="train",
                 features=dict(order(FEATURES.items())), targets=dict(order(TARGETS.items()))) as writer:
    for seed in range(40):
        writer.add(f"clip{{seed}}", dict(order(example(seed).items())), targets(seed))
"""


def test_bytes_are_the_same_in_any_process_at_any_time(tmp_path):
    here = Path(__file__).parent
    shards = []
    for number, order in enumerate(["list", "lambda items: list(items)[::-1]"]):
        path = tmp_path / str(number) / "train-0000.h5"
        path.parent.mkdir()
        code = BUILD.format(paths=[str(here), str(here.parent)], path=str(path), order=order)
        environment = {**os.environ, "PYTHONHASHSEED": str(number), "TZ": ["UTC", "Asia/Tokyo"][number]}
        subprocess.run([sys.executable, "-c", code], check=True, env=environment)
        shards.append(path.read_bytes())
        time.sleep(1.1)
    assert shards[0] == shards[1]


def test_a_different_number_in_one_example_changes_the_content_hash(tmp_path):
    first = write_shard(tmp_path / "a.h5", range(3))
    other = write_shard(tmp_path / "b.h5", [0, 1, 5])
    assert all(first.datasets[path] != other.datasets[path] for path in first.datasets if path != "/targets/label")


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("error", [Interrupted, KeyboardInterrupt, SystemExit])
def test_nothing_is_left_after_an_error(tmp_path, error):
    layouts = {"features": FEATURES, "targets": TARGETS}
    with pytest.raises(error), ShardWriter(tmp_path / "a.h5", fingerprint="", split="s", **layouts) as writer:
        writer.add("a", example(0), targets(0))
        assert len(list(tmp_path.iterdir())) == 1 and not (tmp_path / "a.h5").exists()
        raise error
    assert list(tmp_path.iterdir()) == [] and writer.record is None


def test_an_existing_shard_survives_a_failed_rewrite(tmp_path):
    record = write_shard(tmp_path / "a.h5", range(3))
    with pytest.raises(Interrupted), ShardWriter(tmp_path / "a.h5", fingerprint="", split="s", features={}, targets={}):
        raise Interrupted
    assert read_shard_record(tmp_path / "a.h5") == record


def test_rows_that_do_not_fit_are_refused_and_leave_no_trace(tmp_path):
    layouts = {"features": {"x": Layout((2, 3), "float32", ("a", "b"))}, "targets": {"label": Layout((), "int32")}}
    good = np.ones((2, 3), np.float32)
    with ShardWriter(tmp_path / "a.h5", fingerprint="", split="s", **layouts) as writer:
        writer.add("first", {"x": good}, {"label": 1})
        for identifier, features, labels in [
            ("first", {"x": good}, {"label": 1}),
            ("", {"x": good}, {"label": 1}),
            ("a\nb", {"x": good}, {"label": 1}),
            ("b", {"x": good.T}, {"label": 1}),
            ("b", {"x": good.astype(np.float64)}, {"label": 1}),
            ("b", {"y": good}, {"label": 1}),
            ("b", {"x": good}, {}),
            ("b", {"x": good}, {"label": 1.5}),
            ("b", {"x": good}, {"label": np.int64(2) ** 40}),
            ("b", {"x": good}, {"label": [1]}),
        ]:
            with pytest.raises(ValueError):
                writer.add(identifier, features, labels)
        writer.add("second", {"x": 2 * good}, {"label": 2})
    assert read_shard_rows(tmp_path / "a.h5")["example_id"].tolist() == ["first", "second"]
    np.testing.assert_array_equal(read_all(tmp_path / "a.h5", ["/features/x"])[1]["/features/x"], 2 * good)


def test_another_number_of_rows_than_announced_is_refused(tmp_path):
    layouts = {"features": FEATURES, "targets": TARGETS}
    writer = ShardWriter(tmp_path / "a.h5", fingerprint="", split="s", examples=2, **layouts)
    with pytest.raises(ValueError, match="1 examples were added, 2 were announced"), writer:
        writer.add("a", example(0), targets(0))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "layout",
    [
        {"shape": (2,), "dtype": "float32"},
        {"shape": (0,), "dtype": "float32", "axes": ("a",)},
        {"shape": (), "dtype": "object"},
        {"shape": (), "dtype": "int"},
    ],
)
def test_impossible_layouts_are_refused(layout):
    with pytest.raises(ValueError):
        Layout(**layout)


def test_what_reads_back_otherwise_gets_no_name(tmp_path, monkeypatch):
    """A byte that goes wrong between writing and reading back: a disk or memory fault."""
    real = writer_module.sync

    def damaging_sync(path):
        data = bytearray(path.read_bytes())
        data[data.rindex(b"clip0002#0")] ^= 1
        path.write_bytes(data)
        real(path)

    monkeypatch.setattr(writer_module, "sync", damaging_sync)
    with pytest.raises(CacheError, match=r"a\.h5: /example_id: decoded content differs"):
        write_shard(tmp_path / "a.h5", range(3))
    assert list(tmp_path.iterdir()) == []


def write_until_killed(folder, first):
    for number in range(first, first + 1000):
        write_shard(Path(folder) / f"train-{number:04d}.h5", range(number, number + 3))


def test_a_kill_at_any_moment_leaves_whole_shards_only(tmp_path):
    rng = random.Random(7)
    interrupted, wait_s = 0, 0.06
    for attempt in range(60):
        process = FORK.Process(target=write_until_killed, args=(tmp_path, 1000 * attempt))
        process.start()
        while process.is_alive() and not any(tmp_path.iterdir()):
            time.sleep(0.001)
        time.sleep(rng.uniform(0, wait_s))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        finished = list(tmp_path.glob("*.h5"))
        for path in finished:
            number = int(path.stem.removeprefix("train-"))
            assert read_shard_rows(path)["example_id"].tolist() == [f"clip{n:04d}#0" for n in range(number, number + 3)]
            assert read_shard_record(path).examples == 3
        interrupted += len(remove_stale_temporaries(tmp_path))
        assert sorted(tmp_path.iterdir()) == sorted(finished)
        if attempt >= 10 and interrupted >= 3 and finished:
            return
        wait_s *= 1 if finished else 1.5  # a busy machine needs longer for a shard
        for path in finished[:-1]:
            path.unlink()
    pytest.fail(f"{interrupted} of 60 kills met a shard being written, {len(finished)} shards were finished")


def test_stale_temporaries_are_removed_and_nothing_else(tmp_path):
    stale = [".train-0000.h5.77-0a1b2c3d.tmp", ".manifest.json.1-ffffffff.tmp"]
    kept = ["train-0000.h5", ".hidden", "notes.tmp", ".a.tmp"]
    for name in stale + kept:
        (tmp_path / name).touch()
    assert remove_stale_temporaries(tmp_path) == sorted(stale)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)


@pytest.fixture
def small_disk(tmp_path):
    """A file system with room for 100 pages of 4 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)]
    if os.name != "posix" or os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a small tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def leave_free(folder, pages):
    """Fill a file system until the given number of pages of 4 kB is left."""
    filler = folder / "filler"
    filler.unlink(missing_ok=True)
    free = os.statvfs(folder)
    filler.write_bytes(b"x" * max(free.f_bavail * free.f_frsize - pages * 4096, 0))


def write_large_rows(path):
    write_shard(path, range(12))


def write_many_small_rows(path):
    """So many that ids and targets need room of their own when the shard is completed."""
    layouts = {"features": {"x": Layout((8,), "float32", ("a",))}, "targets": {"label": Layout((), "int64")}}
    with ShardWriter(path, fingerprint="", split="s", **layouts) as writer:
        for row in range(400):
            writer.add(f"clip{row}#0", {"x": np.full(8, row, np.float32)}, {"label": row})


@pytest.mark.parametrize("write", [write_large_rows, write_many_small_rows])
def test_a_full_disk_is_one_line_and_leaves_nothing(small_disk, capfd, caplog, write):
    """Every amount of room from none at all to enough, so that the disk is full at each step of the writing once."""
    descriptors = open_descriptors()
    failures = 0
    for pages in range(100):
        leave_free(small_disk, pages)
        try:
            write(small_disk / "train-0000.h5")
            break
        except EnvironmentFault as error:
            failures += 1
            assert str(error).startswith(f"{small_disk}/train-0000.h5: the disk is full") and "\n" not in str(error)
        assert [path.name for path in small_disk.iterdir()] == ["filler"]
        assert open_descriptors() <= descriptors
    assert failures > 5 and read_shard_record(small_disk / "train-0000.h5").examples in (12, 400)
    assert capfd.readouterr().err == "" and caplog.text == ""


def open_descriptors():
    gc.collect()  # files of earlier tests that nobody holds any more
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_full_disk_for_manifest_and_tables(small_disk):
    cache = build_cache(small_disk.parent / "cache")
    manifest = read_manifest(cache / MANIFEST_FILE)
    leave_free(small_disk, 0)
    with pytest.raises(EnvironmentFault, match=f"{MANIFEST_FILE}: the disk is full"):
        write_manifest(small_disk / MANIFEST_FILE, manifest)
    with pytest.raises(EnvironmentFault, match=f"{EXAMPLES_FILE}: the disk is full"):
        write_examples(small_disk / EXAMPLES_FILE, pd.DataFrame(example_rows("train-0000.h5", "train", range(5))))
    assert [path.name for path in small_disk.iterdir()] == ["filler"]


def write_with_a_limit(path):
    """As a user with a quota: writing beyond 16 kB fails with "file too large"."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16384, 16384))
    try:
        write_shard(path, range(12))
    except EnvironmentFault as error:
        sys.exit(0 if "can't be written (File too large)" in str(error) and "\n" not in str(error) else 1)
    sys.exit(2)


def test_any_other_failure_of_writing_is_one_line_too(tmp_path):
    process = FORK.Process(target=write_with_a_limit, args=(tmp_path / "a.h5",))
    process.start()
    process.join()
    assert process.exitcode == 0 and list(tmp_path.iterdir()) == []
    with pytest.raises(EnvironmentFault, match=r"a\.h5: can't be written \(No such file or directory\); check that"):
        write_shard(tmp_path / "missing" / "a.h5", range(2))


def test_a_quota_is_a_full_disk_too():
    assert "the disk is full (over" in str(write_fault(Path("a.h5"), OSError(errno.EDQUOT, "over")))
    assert "can't be written (only text)" in str(write_fault(Path("a.h5"), OSError("only\ntext")))


def test_an_error_of_the_caller_keeps_its_own_type(tmp_path):
    layouts = {"features": FEATURES, "targets": TARGETS}
    with pytest.raises(FileNotFoundError), ShardWriter(tmp_path / "a.h5", fingerprint="", split="s", **layouts):
        (tmp_path / "recording.flac").read_bytes()


def write_hdf5(path, **attributes):
    with h5py.File(path, "w") as file:
        for name, value in attributes.items():
            file.attrs[name] = value


def test_what_is_not_a_shard_is_said_in_one_line(tmp_path):
    (tmp_path / "text.h5").write_text("not HDF5")
    write_hdf5(tmp_path / "other.h5")
    write_hdf5(tmp_path / "foreign.h5", format=fixed_text("something"), format_version=1)
    write_hdf5(tmp_path / "newer.h5", format=fixed_text("audiodata-shard"), format_version=2)
    for name, message in {
        "text.h5": "can't be opened as HDF5",
        "other.h5": "not a shard",
        "foreign.h5": "format is 'something', expected 'audiodata-shard'",
        "newer.h5": "format version 2, this audiodata reads up to 1; upgrade",
        "missing.h5": "no such shard",
    }.items():
        for read in (read_shard_record, read_fingerprint, read_shard_rows, ShardIndex):
            with pytest.raises(CacheError, match=message) as caught:
                read(tmp_path / name)
            assert str(caught.value).startswith(str(tmp_path / name)) and "\n" not in str(caught.value)
