"""Ragged features: any number of entries per example, exact, the same bytes every time, and checked like all else."""

import hashlib
import json
import multiprocessing
import os
import pickle
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from shard_helpers import example_rows, manifest_of

from audiodata.errors import CacheError, EnvironmentFault
from audiodata.shards import (
    EXAMPLES_FILE,
    LEDGER_FILE,
    MANIFEST_FILE,
    Layout,
    ShardWriter,
    open_cache,
    read_shard_record,
    remove_stale_temporaries,
    verify_cache,
    write_examples,
    write_ledger,
    write_manifest,
)
from audiodata.shards import ragged as ragged_module
from audiodata.shards.atomic import Output
from audiodata.shards.bitshuffle import find_flaw
from audiodata.shards.format import content_hash, fixed_text, hash_dataset
from audiodata.shards.ragged import CHUNK_BYTES, chunk_shape, offsets_flaw
from audiodata.shards.reader import RaggedChunkColumn, RaggedColumn, ShardIndex
from audiodata.shards.verify import repacked_rows, shard_problems

FORK = multiprocessing.get_context("fork")
EVENTS = Layout((None, 4), "int32", ("event", "field"))
FRAMES = Layout((8, 5, 5), "uint8", ("time", "row", "column"), "events")
FEATURES = {"events": EVENTS, "frames": FRAMES}
TARGETS = {"label": Layout((), "int64")}
DTYPES = ["float32", "float64", "int64", "int32", "int16", "int8", "uint8", "uint16", "bool"]
PER_SHARD = 5
SHARD = "train-0001.h5"
DATASETS = ["/example_id", "/features/events", "/features/frames", "/offsets/events", "/targets/label"]


def events(seed):
    """Times that rise, addresses and polarities; none at all for each fourth seed."""
    rng = np.random.default_rng(seed)
    count = 0 if seed % 4 == 0 else int(rng.integers(1, 9000))
    columns = [np.sort(rng.integers(0, 2_000_000, count)), rng.integers(0, 34, count), rng.integers(0, 34, count), rng.integers(0, 2, count)]
    return np.stack(columns, axis=1).astype(np.int32)


def features(seed):
    return {"events": events(seed), "frames": np.random.default_rng(seed).integers(0, 3, FRAMES.shape).astype(np.uint8)}


def write_shard(path, seeds, split="train", fingerprint="a" * 64):
    with ShardWriter(path, fingerprint=fingerprint, split=split, features=FEATURES, targets=TARGETS, examples=len(seeds)) as writer:
        for seed in seeds:
            writer.add(f"clip{seed:04d}#0", features(seed), {"label": seed % 3})
    return writer.record


def write_features(path, layout, arrays):
    """Write a shard of one feature."""
    with ShardWriter(path, fingerprint="f", split="train", features={"x": layout}, targets={}) as writer:
        for row, array in enumerate(arrays):
            writer.add(f"{row}#0", {"x": array}, {})
    return writer.record


def read_all(path, name="/features/x"):
    index = ShardIndex(path)
    handle = index.open()
    return [index.read(handle, row, name) for row in range(index.examples)]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("caches") / "cache"
    folder.mkdir()
    records, rows = [], []
    for number, (split, name) in enumerate([("train", "train-0000.h5"), ("train", SHARD), ("test", "test-0000.h5")]):
        seeds = range(number * PER_SHARD, (number + 1) * PER_SHARD)
        records.append(write_shard(folder / name, seeds, split, str(number)))
        rows += example_rows(name, split, seeds)
    examples = pd.DataFrame(rows)
    ledger = pd.DataFrame({"clip_id": examples["clip_id"], "status": "ok", "reason": "", "detail": ""})
    tables = {
        EXAMPLES_FILE: write_examples(folder / EXAMPLES_FILE, examples),
        LEDGER_FILE: write_ledger(folder / LEDGER_FILE, ledger),
    }
    layouts = {"features": {name: layout.record() for name, layout in FEATURES.items()}, "targets": {"label": TARGETS["label"].record()}}
    write_manifest(folder / MANIFEST_FILE, manifest_of(examples, ledger, records, tables) | layouts)
    return folder


@pytest.fixture
def folder(built, tmp_path):
    return shutil.copytree(built, tmp_path / "cache")


def seed_of(cache, seed):
    return cache.place(cache.examples.index[cache.examples["example_id"] == f"clip{seed:04d}#0"][0])


# ---- layout and format ----


def test_a_layout_may_leave_its_first_length_open():
    layout = Layout((None, 4), "int32", ("event", "field"), "us")
    assert layout.ragged and layout.entry == (4,) and layout.row_bytes == 16
    assert Layout.from_record(json.loads(json.dumps(layout.record()))) == layout
    assert layout.record()["shape"] == [None, 4]
    assert layout.fits((0, 4)) and layout.fits((7, 4)) and not layout.fits((7, 5)) and not layout.fits((4,))
    assert Layout((None,), "float32", ("sample",)).entry == () and not FRAMES.ragged and FRAMES.entry == FRAMES.shape


@pytest.mark.parametrize("shape", [(4, None), (None, None), (None, 0), (1, None, 2)])
def test_no_other_length_may_be_open_and_no_entry_empty(shape):
    with pytest.raises(ValueError, match="layout with shape"):
        Layout(shape, "int32", tuple("abc"[: len(shape)]))


def test_targets_are_never_ragged(tmp_path, folder):
    with pytest.raises(ValueError, match=r"/targets/events has the layout .* only features may be ragged"):
        ShardWriter(tmp_path / "a.h5", fingerprint="", split="s", features={}, targets={"events": EVENTS})
    manifest = json.loads((folder / MANIFEST_FILE).read_text())
    manifest["targets"]["spikes"] = EVENTS.record()
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest))
    with pytest.raises(CacheError, match=r"`targets.spikes` has the shape .* only features may be ragged"):
        open_cache(folder)


def test_structure_is_the_documented_one(tmp_path):
    write_shard(tmp_path / "a.h5", range(5))
    counts = [len(events(seed)) for seed in range(5)]
    with h5py.File(tmp_path / "a.h5", "r", locking=False) as file:
        assert sorted(file) == ["example_id", "features", "offsets", "targets"]
        found, offsets = file["features/events"], file["offsets/events"]
        assert found.shape == (sum(counts), 4) and found.dtype == "<i4" and "32008" in found._filters
        assert found.chunks == (16384, 1) and np.prod(found.chunks) * 4 == CHUNK_BYTES
        assert found.attrs["axes"].tolist() == [b"event", b"field"] and found.attrs["offsets"] == b"/offsets/events"
        assert offsets.dtype == "<i8" and offsets.chunks is None and offsets.attrs["unit"] == b"entries"
        assert offsets[:].tolist() == np.cumsum([0, *counts]).tolist()
        np.testing.assert_array_equal(found[:], np.concatenate([events(seed) for seed in range(5)]))
        assert file["features/frames"].chunks == (1, 8, 5, 5) and file["features/frames"].dtype == "u1"


def test_a_shard_without_ragged_features_is_as_it_was(tmp_path):
    write_features(tmp_path / "a.h5", FRAMES, [np.zeros(FRAMES.shape, np.uint8)])
    with h5py.File(tmp_path / "a.h5", "r", locking=False) as file:
        assert sorted(file) == ["example_id", "features", "targets"] and set(file["features/x"].attrs) == {"axes", "unit", "sha256"}


@pytest.mark.parametrize(("entry", "itemsize", "expected"), [
    ((4,), 4, (16384, 1)), ((), 4, (16384,)), ((16,), 8, (8192, 1)), ((17,), 4, (963, 17)), ((3, 5), 1, (4369, 3, 5)), ((9000, 9), 4, (1, 9000, 9)),
])
def test_chunks_hold_about_as_many_bytes_whatever_an_entry_is(entry, itemsize, expected):
    assert chunk_shape(entry, itemsize) == expected


def test_content_hashes_can_be_computed_from_the_documentation_alone(tmp_path):
    record = write_shard(tmp_path / "a.h5", range(5))
    entries = np.concatenate([events(seed) for seed in range(5)]).astype("<i4")
    offsets = np.cumsum([0, *(len(events(seed)) for seed in range(5))]).astype("<i8")
    assert sorted(record.datasets) == DATASETS
    for path, header, values in [
        ("/features/events", b'["/features/events","int32",[null,4]]\n', entries),
        ("/offsets/events", b'["/offsets/events","int64",[]]\n', offsets),
    ]:
        assert record.datasets[path] == hashlib.sha256(header + values.tobytes()).hexdigest()
    assert record == read_shard_record(tmp_path / "a.h5")


def test_where_one_example_ends_is_in_the_hashes(tmp_path):
    layout, values = Layout((None,), "int16", ("sample",)), np.arange(7, dtype=np.int16)
    first = write_features(tmp_path / "a.h5", layout, [values[:3], values[3:]])
    other = write_features(tmp_path / "b.h5", layout, [values[:4], values[4:]])
    assert first.datasets["/features/x"] == other.datasets["/features/x"]
    assert first.datasets["/offsets/x"] != other.datasets["/offsets/x"] and first.content_sha256 != other.content_sha256


def test_fields_apart_pack_better_than_entries_whole(tmp_path, monkeypatch):
    sizes = {}
    for fields in (16, 0):
        monkeypatch.setattr(ragged_module, "FIELDS_APART", fields)
        sizes[fields] = write_features(tmp_path / f"{fields}.h5", EVENTS, [events(seed) for seed in range(1, 12)]).bytes
    assert sizes[16] < 0.8 * sizes[0]


# ---- writing ----


@st.composite
def columns(draw):
    layout_shape = (None, *draw(hnp.array_shapes(min_dims=0, max_dims=2, max_side=20)))
    layout = Layout(layout_shape, draw(st.sampled_from(DTYPES)), tuple("abc"[: len(layout_shape)]))
    counts = draw(st.lists(st.integers(0, 40), max_size=5))
    return layout, [any_bits(layout, count, draw(st.integers(0, 2**32 - 1))) for count in counts]


def any_bits(layout, count, seed):
    """Entries of any bit patterns, so NaNs with payloads too."""
    data = np.random.default_rng(seed).bytes(count * layout.row_bytes)
    if layout.dtype == "bool":
        return np.frombuffer(data, np.uint8).reshape(count, *layout.entry) > 127
    return np.frombuffer(data, layout.dtype).reshape(count, *layout.entry)


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "through HDF5"])
@settings(max_examples=40, deadline=None)
@given(column=columns(), chunk_bytes=st.sampled_from([1, 64, 1000, CHUNK_BYTES]))
def test_round_trip_is_exact_whatever_the_chunks(tmp_path_factory, direct, column, chunk_bytes):
    layout, arrays = column
    path = tmp_path_factory.mktemp("shard") / "train-0000.h5"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ragged_module, "CHUNK_BYTES", chunk_bytes)
        record = write_features(path, layout, arrays)
        if not direct:
            patch.setattr("audiodata.shards.reader.find_decoder", lambda: None)
        found = read_all(path)
        assert isinstance(ShardIndex(path).columns["/features/x"], RaggedChunkColumn if direct else RaggedColumn)
    assert len(found) == len(arrays) == record.examples
    for ours, theirs in zip(found, arrays, strict=True):
        assert ours.dtype == theirs.dtype and ours.shape == theirs.shape and ours.tobytes() == theirs.tobytes()


def test_big_endian_and_strided_input_is_stored_by_value(tmp_path):
    array = events(3)
    plain = write_features(tmp_path / "a.h5", EVENTS, [array])
    turned = write_features(tmp_path / "b.h5", EVENTS, [np.asfortranarray(array.astype(">i4"))])
    assert plain.sha256 == turned.sha256
    np.testing.assert_array_equal(read_all(tmp_path / "b.h5")[0], array)


BUILD = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
import numpy as np
from audiodata.shards import Layout, ShardWriter
layouts = {{"a": Layout((None, 4), "int32", ("event", "field")), "b": Layout((3,), "uint8", ("x",)), "c": Layout((None,), "float32", ("y",))}}
with ShardWriter(Path({path!r}), fingerprint="f", split="train", features=layouts, targets={{}}) as writer:
    for row in range(30):
        events = np.arange(4 * 97 * row, dtype=np.int32).reshape(-1, 4) % 5003
        writer.add(str(row), {{"a": events, "b": np.full(3, row, np.uint8), "c": np.sqrt(np.arange(1009 * row, dtype=np.float32))}}, {{}})
"""


def test_bytes_are_the_same_in_any_process_at_any_time(tmp_path):
    root = Path(__file__).parents[1]
    shards = []
    for number in range(2):
        path = tmp_path / str(number) / "train-0000.h5"
        path.parent.mkdir()
        code = BUILD.format(root=str(root), path=str(path))
        environment = {**os.environ, "PYTHONHASHSEED": str(number), "TZ": ["UTC", "Asia/Tokyo"][number], "MALLOC_PERTURB_": str(17 * number)}
        subprocess.run([sys.executable, "-c", code], check=True, env=environment)
        shards.append(path.read_bytes())
        time.sleep(1.1)
    assert shards[0] == shards[1]


def test_memory_does_not_grow_with_the_entries(tmp_path):
    array = np.tile(events(3), (4, 1))
    tracemalloc.start()
    write_features(tmp_path / "a.h5", EVENTS, [array] * 2)
    little = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    write_features(tmp_path / "b.h5", EVENTS, [array] * 40)
    much = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 40 * array.nbytes > 5 * little and much < 1.5 * little


def test_rows_that_do_not_fit_are_refused_and_leave_no_trace(tmp_path):
    good = np.ones((3, 4), np.int32)
    with ShardWriter(tmp_path / "a.h5", fingerprint="", split="s", features={"x": EVENTS}, targets={}) as writer:
        writer.add("first", {"x": good}, {})
        for wrong in (good[:, :3], good[0], good[np.newaxis], good.astype(np.int64), good.astype(np.float32), np.int32(3)):
            with pytest.raises(ValueError, match="b: /features/x has"):
                writer.add("b", {"x": wrong}, {})
        writer.add("second", {"x": good[:0]}, {})
    assert [array.shape for array in read_all(tmp_path / "a.h5")] == [(3, 4), (0, 4)]


def test_shards_without_entries_or_examples(tmp_path):
    for examples in (0, 3):
        path = tmp_path / f"{examples}.h5"
        record = write_features(path, EVENTS, [np.empty((0, 4), np.int32)] * examples)
        assert record == read_shard_record(path) and record.examples == examples
        assert [array.shape for array in read_all(path)] == [(0, 4)] * examples


def test_nothing_is_left_after_an_error(tmp_path):
    with pytest.raises(KeyboardInterrupt), ShardWriter(tmp_path / "a.h5", fingerprint="", split="s", features={"x": EVENTS}, targets={}) as writer:
        writer.add("a", {"x": np.tile(events(3), (20, 1))}, {})
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_at_any_write_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, capfd):
    real, left = Output.write, 0

    def write(self, data):
        nonlocal left
        left -= 1
        if left < 0 and self.fault is None:
            self.fault = OSError(28, "No space left on device")
        return real(self, data)

    monkeypatch.setattr(Output, "write", write)
    for writes in range(1000):
        left = writes
        try:
            write_shard(tmp_path / "a.h5", range(6))
            break
        except EnvironmentFault as error:
            assert "the disk is full" in str(error) and "\n" not in str(error)
        assert list(tmp_path.iterdir()) == []
    assert writes > 5 and read_shard_record(tmp_path / "a.h5").examples == 6 and capfd.readouterr().err == ""


def write_until_killed(folder):
    for number in range(1000):
        if not (Path(folder) / f"train-{number:04d}.h5").exists():
            write_shard(Path(folder) / f"train-{number:04d}.h5", range(number, number + 4))


def test_a_build_killed_at_any_moment_goes_on_to_the_same_bytes(tmp_path):
    rng = random.Random(7)
    interrupted, wait_s = 0, 0.06
    for attempt in range(40):
        process = FORK.Process(target=write_until_killed, args=(tmp_path,))
        process.start()
        while process.is_alive() and not any(tmp_path.glob(".*.tmp")):
            time.sleep(0.001)
        time.sleep(rng.uniform(0, wait_s))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        interrupted += len(remove_stale_temporaries(tmp_path))
        finished = sorted(tmp_path.glob("*.h5"))
        if attempt >= 5 and interrupted >= 3 and len(finished) >= 2:
            break
        wait_s *= 1 if finished else 1.5  # a busy machine needs longer for a shard
    assert interrupted >= 3 and len(finished) >= 2
    for path in finished[:4]:
        number = int(path.stem.removeprefix("train-"))
        write_shard(tmp_path / "again.h5", range(number, number + 4))
        assert path.read_bytes() == (tmp_path / "again.h5").read_bytes()


# ---- reading ----


def assert_is_example(found, seed):
    for name, expected in features(seed).items():
        assert found[name].dtype == expected.dtype and found[name].shape == expected.shape
        np.testing.assert_array_equal(found[name], expected)


def test_every_example_is_read_by_its_id_and_several_as_a_list(built):
    cache = open_cache(built)
    assert cache.features == FEATURES
    for seed in np.random.default_rng(0).permutation(3 * PER_SHARD):
        assert_is_example(cache.read(f"clip{seed:04d}#0"), seed)
    seeds = np.random.default_rng(1).integers(3 * PER_SHARD, size=20)
    arrays = cache.read_rows([seed_of(cache, seed) for seed in seeds])
    assert isinstance(arrays["events"], list) and arrays["frames"].shape == (20, 8, 5, 5) and arrays["label"].tolist() == (seeds % 3).tolist()
    for position, seed in enumerate(seeds):
        assert_is_example({name: arrays[name][position] for name in FEATURES}, seed)
    assert cache.read_rows([], ["events"]) == {"events": []}
    assert list(cache.read_row(SHARD, 1, ["events"])) == ["events"]


def test_arrays_belong_to_the_caller(built):
    cache = open_cache(built)
    cache.read("clip0001#0")["events"][...] = 99
    assert_is_example(cache.read("clip0001#0"), 1)


def read_in_child(cache, connection):
    try:
        for seed in range(3 * PER_SHARD):
            assert_is_example(cache.read(f"clip{seed:04d}#0"), seed)
        connection.send("fine")
    except BaseException as error:
        connection.send(repr(error))


def test_an_open_cache_works_in_threads_after_a_fork_and_pickled(built):
    cache = open_cache(built)
    cache.read("clip0001#0")
    ours, theirs = FORK.Pipe()
    children = [FORK.Process(target=read_in_child, args=(cache, theirs)) for _ in range(2)]
    for child in children:
        child.start()
    seeds = np.random.default_rng(0).integers(3 * PER_SHARD, size=60).tolist()
    with ThreadPoolExecutor(4) as pool:
        for seed, found in zip(seeds, pool.map(lambda seed: cache.read(f"clip{seed:04d}#0"), seeds), strict=True):
            assert_is_example(found, seed)
    assert [ours.recv(), ours.recv()] == ["fine", "fine"]
    for child in children:
        child.join()
    assert_is_example(pickle.loads(pickle.dumps(cache)).read("clip0009#0"), 9)


# ---- damage ----


def places(path):
    """Return the data set that each byte of a shard belongs to; "" for none."""
    owner = np.full(path.stat().st_size, "", dtype=object)
    with h5py.File(path, "r", locking=False) as file:
        for name in DATASETS:
            dataset = file[name]
            if dataset.chunks is None:
                owner[dataset.id.get_offset() : dataset.id.get_offset() + dataset.nbytes] = name
                continue
            for number in range(dataset.id.get_num_chunks()):
                info = dataset.id.get_chunk_info(number)
                owner[info.byte_offset : info.byte_offset + info.size] = name
    return owner


def flip(path, data, offset, mask):
    damaged = bytearray(data)
    damaged[offset] ^= mask
    path.write_bytes(damaged)


def test_a_sound_cache_has_no_problems(built):
    assert verify_cache(built) == []


def test_a_flipped_byte_in_a_data_set_names_shard_and_data_set(folder):
    path, manifest = folder / SHARD, json.loads((folder / MANIFEST_FILE).read_text())
    data, owner = path.read_bytes(), places(path)
    rng = np.random.default_rng(0)
    for name in ("/features/events", "/offsets/events", "/features/frames"):
        inside = np.flatnonzero(owner == name)
        for offset in rng.choice(inside, size=min(40, len(inside)), replace=False):
            flip(path, data, offset, int(rng.integers(1, 256)))
            problems = shard_problems(folder, manifest, manifest["shards"][1])
            assert problems and all(line.startswith(f"{SHARD}: {name}: ") and "\n" not in line for line in problems), (offset, problems)


def test_a_flipped_byte_anywhere_else_is_found(folder):
    path, manifest = folder / SHARD, json.loads((folder / MANIFEST_FILE).read_text())
    data, outside = path.read_bytes(), np.flatnonzero(places(path) == "")
    rng = np.random.default_rng(1)
    for offset in rng.choice(outside, size=80, replace=False):
        flip(path, data, offset, 1 << int(rng.integers(8)))
        problems = shard_problems(folder, manifest, manifest["shards"][1])
        assert problems and all(line.startswith(f"{SHARD}: ") and "\n" not in line for line in problems), offset


def test_a_record_of_a_damaged_shard_is_refused(folder):
    path = folder / SHARD
    data, owner = path.read_bytes(), places(path)
    for name in ("/features/events", "/offsets/events"):
        flip(path, data, int(np.flatnonzero(owner == name)[30]), 0x81)
        with pytest.raises(CacheError, match=f"{SHARD}: {name}: "):
            read_shard_record(path)


def test_damaged_offsets_are_refused_before_anything_is_read(folder):
    """They would lead to the entries of other examples, or to none."""
    path = folder / SHARD
    flip(path, path.read_bytes(), int(np.flatnonzero(places(path) == "/offsets/events")[9]), 0xFF)
    with pytest.raises(CacheError, match=rf"{SHARD}: structure: can't be read \(/offsets/events: ") as caught:
        open_cache(folder).read_row(SHARD, 0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("offsets", "message"), [
    ([0, 2, 5], ""),
    ([0, 0, 5], ""),
    ([0, 5], r"has int64 \[2\], expected int64 \[3\]"),
    ([1, 2, 5], "runs from 1 to 5, expected 0 to 5"),
    ([0, 2, 6], "runs from 0 to 6, expected 0 to 5"),
    ([0, 6, 5], "falls after example 1, from 6 to 5"),
    ([0, -1, 5], "falls after example 0, from 0 to -1"),
])
def test_offsets_give_every_entry_to_one_example(offsets, message):
    found = offsets_flaw(np.array(offsets, np.int64), 2, 5)
    assert re.fullmatch(message + (".*" if message else ""), found)


def test_wrong_offsets_with_right_hashes_are_found(folder):
    """A shard and a manifest that agree with each other, but were made by a program that counts wrongly."""
    path, manifest = folder / SHARD, json.loads((folder / MANIFEST_FILE).read_text())
    with h5py.File(path, "r+") as file:
        offsets = file["offsets/events"]
        offsets[2] = offsets[3] + 1
        offsets.attrs["sha256"] = fixed_text(hash_dataset(offsets))
        datasets = manifest["shards"][1]["datasets"] | {"/offsets/events": hash_dataset(offsets)}
        file.attrs["content_sha256"] = fixed_text(content_hash(datasets))
    manifest["shards"][1] = read_shard_record(path)._asdict()
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest))
    problems = verify_cache(folder)
    assert len(problems) == 1 and problems[0].startswith(f"{SHARD}: /offsets/events: falls after example 2"), problems


def test_missing_offsets_are_found(folder):
    with h5py.File(folder / SHARD, "r+") as file:
        del file["offsets/events"]
    assert any(line.startswith(f"{SHARD}: /offsets/events: can't be decoded") for line in verify_cache(folder))
    with pytest.raises(CacheError, match=f"{SHARD}: structure: can't be read"):
        open_cache(folder).read_row(SHARD, 0)


def test_a_manifest_that_says_dense_is_found(folder):
    manifest = json.loads((folder / MANIFEST_FILE).read_text())
    manifest["features"]["events"]["shape"] = [7, 4]
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest))
    assert f"{SHARD}: structure: unexpected data set /offsets/events" in verify_cache(folder)
    with pytest.raises(CacheError, match="structure: differs from the manifest"):
        open_cache(folder).read_row(SHARD, 0)


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "through HDF5"])
def test_damaged_lengths_inside_a_chunk_never_reach_the_decoder(tmp_path, monkeypatch, direct):
    """The decoder follows these lengths anywhere in memory: without the check this test ends the process."""
    if not direct:
        monkeypatch.setattr("audiodata.shards.reader.find_decoder", lambda: None)
    path = tmp_path / "a.h5"
    write_features(path, EVENTS, [events(3), events(5)])
    with h5py.File(path, "r", locking=False) as file:
        offset = file["features/x"].id.get_chunk_info(0).byte_offset
    data = path.read_bytes()
    for position in [*range(10), *range(12, 16)]:
        for bit in (0, 5, 6, 7):
            flip(path, data, offset + position, 1 << bit)
            index = ShardIndex(path)
            with pytest.raises(CacheError, match=r"a\.h5: /features/x: row 1 can't be decoded"):
                index.read(index.open(), 1, "/features/x")


def test_other_bytes_for_the_same_numbers_are_found(folder):
    """Beyond the last entry the last chunk holds what nobody reads."""
    path = folder / SHARD
    with h5py.File(path, "r", locking=False) as file:
        dataset = file["features/events"]
        count, noted = dataset.id.get_num_chunks(), hash_dataset(dataset)
        info = dataset.id.get_chunk_info(count - 1)
        assert repacked_rows(dataset) == []
    data = path.read_bytes()
    for offset in range(info.byte_offset + info.size - 1, info.byte_offset, -1):
        flip(path, data, offset, 0x01)
        if find_flaw(path.read_bytes()[info.byte_offset : info.byte_offset + info.size], CHUNK_BYTES, 4) == "":
            break
    with h5py.File(path, "r", locking=False) as file:
        assert hash_dataset(file["features/events"]) == noted and repacked_rows(file["features/events"]) == [info.chunk_offset[0]]
    assert verify_cache(folder)[0].startswith(f"{SHARD}: /features/events: row {info.chunk_offset[0]}: bytes differ, though they decode")


# ---- PyTorch ----


def test_tensors_of_any_length_and_batches_of_them(built):
    torch = pytest.importorskip("torch")
    from audiodata.torch_dataset import Ragged, ShardDataset

    dataset = ShardDataset(built)
    assert dataset.ragged == ("events",) and dataset.feature_shapes == {"events": (None, 4), "frames": (8, 5, 5)}
    assert dataset[1]["events"].dtype == torch.int32 and dataset[1]["frames"].dtype == torch.uint8
    for position, item in enumerate(dataset.__getitems__([9, 0, 4, 4])):
        assert_is_example({name: item[name].numpy() for name in FEATURES}, [9, 0, 4, 4][position])
    batch = dataset.collate([dataset[index] for index in (1, 0, 7)])
    ragged = batch["events"]
    values, offsets = ragged
    assert isinstance(ragged, Ragged) and offsets.dtype == torch.int64 and values.dtype == torch.int32
    assert ragged.lengths.tolist() == [len(events(seed)) for seed in (1, 0, 7)]
    for found, seed in zip(torch.tensor_split(values, offsets[1:-1]), (1, 0, 7), strict=True):
        np.testing.assert_array_equal(found.numpy(), events(seed))
    assert torch.bincount(ragged.example_index, minlength=3).tolist() == ragged.lengths.tolist()
    assert (ragged.example_index.diff() >= 0).all()
    assert batch["frames"].shape == (3, 8, 5, 5) and batch["label"].tolist() == [1, 0, 1]
    nested = torch.nested.nested_tensor_from_jagged(values, offsets)
    assert [len(part) for part in nested.unbind()] == ragged.lengths.tolist()


@pytest.mark.parametrize(("workers", "start"), [(0, None), (2, "fork"), (1, "spawn")])
def test_every_example_arrives_once_through_a_loader(built, workers, start):
    torch = pytest.importorskip("torch")
    from audiodata.torch_dataset import ShardDataset

    dataset = ShardDataset(built)
    dataset[0]
    generator = torch.Generator().manual_seed(3)
    options = {"shuffle": True, "generator": generator, "num_workers": workers, "multiprocessing_context": start}
    loader = torch.utils.data.DataLoader(dataset, batch_size=4, collate_fn=dataset.collate, **options)
    batches = [batch["events"] for batch in loader]
    found = [part.numpy() for values, offsets in batches for part in torch.tensor_split(values, offsets[1:-1])]
    expected = [events(seed) for seed in range(2 * PER_SHARD)]
    assert sorted(part.tobytes() for part in found) == sorted(part.tobytes() for part in expected)
