"""Reading a cache: the right example, from any thread or process, and clear words when there is none."""

import fcntl
import json
import multiprocessing
import os
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from shard_helpers import CLASSES, FEATURES, build_cache, example, example_rows, targets, write_shard

from audiodata.errors import CacheError
from audiodata.shards import (
    EXAMPLES_FILE,
    LEDGER_FILE,
    MANIFEST_FILE,
    Layout,
    ShardWriter,
    bitshuffle,
    ledger_counts,
    open_cache,
    read_examples,
    read_ledger,
    read_manifest,
    split_counts,
    write_examples,
    write_ledger,
    write_manifest,
)
from audiodata.shards import cache as cache_module
from audiodata.shards.reader import ChunkColumn, HDF5Column, ShardIndex

EXAMPLES = 24


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return build_cache(tmp_path_factory.mktemp("caches") / "cache")


@pytest.fixture
def folder(built, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(built, tmp_path / "cache")


def assert_is_example(found, seed):
    expected = {**example(seed), **targets(seed)}
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].tobytes() == np.asarray(value, found[name].dtype).tobytes(), name


def test_every_example_is_read_by_its_id(built):
    cache = open_cache(built)
    order = np.random.default_rng(0).permutation(EXAMPLES)
    for seed in order:
        assert_is_example(cache.read(f"clip{seed:04d}#0"), seed)
    assert cache.read("clip0003#0")["mfcc"].shape == (1, 31, 20)
    assert cache.read("clip0003#0")["label"].shape == () and cache.read("clip0003#0")["length"].dtype == np.int32


def test_arrays_belong_to_the_caller(built):
    cache = open_cache(built)
    first = cache.read("clip0000#0")
    for array in first.values():
        array[...] = 99
    assert_is_example(cache.read("clip0000#0"), 0)


def test_attributes_of_a_cache(built):
    cache = open_cache(str(built))
    assert cache.manifest == json.loads((built / MANIFEST_FILE).read_text())
    assert cache.features == FEATURES and list(cache.targets) == ["label", "length"]
    assert len(cache.examples) == len(cache.ledger) == EXAMPLES
    assert list(cache.examples.columns[:6]) == ["example_id", "clip_id", "group_id", "split", "shard", "row"]
    assert "24 examples in 4 shards" in repr(cache)


def test_rows_are_read_together_in_the_order_asked_for(built):
    cache = open_cache(built)
    seeds = np.random.default_rng(1).integers(EXAMPLES, size=50)
    arrays = cache.read_rows([cache.place(seed_position(cache, seed)) for seed in seeds])
    for position, seed in enumerate(seeds):
        assert_is_example({name: array[position] for name, array in arrays.items()}, seed)
    only = cache.read_rows([("val-0000.h5", 2)], ["label"])
    assert list(only) == ["label"] and only["label"].shape == (1,)
    assert cache.read_rows([], ["mfcc"])["mfcc"].shape == (0, 1, 31, 20)


def seed_position(cache, seed):
    return cache.examples.index[cache.examples["example_id"] == f"clip{seed:04d}#0"][0]


def test_direct_reading_is_in_use_here_and_equals_reading_through_hdf5(built, monkeypatch):
    direct = ShardIndex(built / "train-0000.h5")
    monkeypatch.setattr("audiodata.shards.reader.find_decoder", lambda: None)
    through = ShardIndex(built / "train-0000.h5")
    for path in ("/features/mfcc", "/features/log_mel"):
        assert isinstance(direct.columns[path], ChunkColumn) and isinstance(through.columns[path], HDF5Column)
        for row in range(6):
            ours, theirs = direct.read(direct.open(), row, path), through.read(through.open(), row, path)
            assert ours.tobytes() == theirs.tobytes() and ours.dtype == theirs.dtype


@pytest.mark.parametrize("load", ["missing", "wrong"])
def test_without_a_trustworthy_decoder_everything_is_read_through_hdf5(built, monkeypatch, load):
    def missing():
        raise OSError("no such library")

    monkeypatch.setattr(bitshuffle, "_load", missing if load == "missing" else lambda: lambda *_: 0)
    bitshuffle.find_decoder.cache_clear()
    try:
        assert isinstance(ShardIndex(built / "train-0000.h5").columns["/features/mfcc"], HDF5Column)
        assert_is_example(open_cache(built).read("clip0001#0"), 1)
    finally:
        bitshuffle.find_decoder.cache_clear()


def test_an_unknown_example_names_the_nearest(built):
    cache = open_cache(built)
    with pytest.raises(CacheError, match=r"no example 'clip0003#7'; did you mean 'clip0003#0'"):
        cache.read("clip0003#7")
    with pytest.raises(CacheError, match=r"no example 'clap0011#0'; did you mean 'clip0011#0'"):
        cache.read("clap0011#0")
    with pytest.raises(CacheError, match="the table of examples lists them all"):
        cache.read("???")


def test_unknown_rows_shards_and_names(built):
    cache = open_cache(built)
    for row in (-1, 6):
        with pytest.raises(CacheError, match=f"train-0000.h5: no row {row}; it has 6"):
            cache.read_row("train-0000.h5", row)
    with pytest.raises(CacheError, match=r"no shard '../train-0000.h5'"):
        cache.read_row("../train-0000.h5", 0)
    with pytest.raises(CacheError, match="no feature or target 'mfc'; it has log_mel, mfcc, label, length"):
        cache.read_row("train-0000.h5", 0, ["mfc"])


def edit_manifest(folder, **changes):
    manifest = json.loads((folder / MANIFEST_FILE).read_text())
    (folder / MANIFEST_FILE).write_text(json.dumps({**manifest, **changes}))


def test_what_is_not_a_cache_is_said_in_one_line(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    for path, message in [
        (tmp_path / "nowhere", "does not exist; expected the folder that a build wrote"),
        (folder / MANIFEST_FILE, "is a file; expected the folder"),
        (tmp_path / "empty", "not a cache"),
    ]:
        with pytest.raises(CacheError, match=message):
            open_cache(path)
    (folder / MANIFEST_FILE).unlink()
    with pytest.raises(CacheError, match="the build isn't finished, run it again"):
        open_cache(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 2}, "format version 2, this audiodata reads up to 1; upgrade audiodata"),
        ({"format": "other"}, "format is 'other'"),
        ({"shards": None}, "`shards` is NoneType, expected list"),
        ({"format_version": True}, "`format_version` is bool, expected int"),
        ({"shards": [{"file": "x.h5"}]}, r"`shards\[0\].split` is missing"),
        ({"features": {"mfcc": {"shape": [1]}}}, "`features.mfcc` isn't a layout"),
        ({"features": {"mfcc": 3}}, "`features.mfcc` isn't a layout"),
        ({"targets": {"mfcc": Layout((), "int64").record()}}, "'mfcc' is both a feature and a target"),
    ],
)
def test_a_manifest_of_another_kind_is_refused(folder, changes, message):
    edit_manifest(folder, **changes)
    with pytest.raises(CacheError, match=message) as caught:
        open_cache(folder)
    assert str(caught.value).startswith(str(folder / MANIFEST_FILE)) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["../train-0000.h5", "/etc/a.h5", "a\\b.h5", ".h5", "shard.txt", ""])
def test_a_manifest_never_leads_out_of_its_folder(folder, name):
    shards = read_manifest(folder / MANIFEST_FILE)["shards"]
    edit_manifest(folder, shards=[{**shards[0], "file": name}])
    with pytest.raises(CacheError, match="isn't the plain name of a shard"):
        open_cache(folder)


def test_a_manifest_that_is_not_json(folder):
    text = (folder / MANIFEST_FILE).read_bytes()
    for broken in (text[:-20], b"[]", b"\xff\xfe"):
        (folder / MANIFEST_FILE).write_bytes(broken)
        with pytest.raises(CacheError, match="isn't"):
            open_cache(folder)


def test_the_manifest_has_one_form(built, tmp_path):
    manifest = read_manifest(built / MANIFEST_FILE)
    write_manifest(tmp_path / "again.json", dict(reversed(manifest.items())))
    text = (tmp_path / "again.json").read_bytes()
    assert text == (built / MANIFEST_FILE).read_bytes()
    assert text.endswith(b"}\n") and text.startswith(b'{\n  "audio": {')
    with pytest.raises(CacheError, match="`classes` is missing"):
        write_manifest(tmp_path / "bad.json", {name: value for name, value in manifest.items() if name != "classes"})
    assert not (tmp_path / "bad.json").exists()


def test_tables_do_not_depend_on_the_order_or_kind_of_their_rows(built, tmp_path):
    examples = read_examples(built / EXAMPLES_FILE)
    shuffled = examples.sample(frac=1, random_state=1).sort_index(axis=1).astype({"label": object, "split": "string"})
    write_examples(tmp_path / "a.parquet", shuffled.set_index("example_id", drop=False))
    assert (tmp_path / "a.parquet").read_bytes() == (built / EXAMPLES_FILE).read_bytes()
    ledger = read_ledger(built / LEDGER_FILE)
    assert write_ledger(tmp_path / "b.parquet", ledger[::-1])["rows"] == EXAMPLES
    assert (tmp_path / "b.parquet").read_bytes() == (built / LEDGER_FILE).read_bytes()


def test_further_columns_are_kept_and_missing_ones_refused(tmp_path):
    rows = pd.DataFrame(example_rows("train-0000.h5", "train", range(3)))
    write_examples(tmp_path / "a.parquet", rows.assign(azimuth_deg=[0.0, 90.5, 359.0], room="lab"))
    found = read_examples(tmp_path / "a.parquet")
    assert found["azimuth_deg"].tolist() == [0.0, 90.5, 359.0] and found["room"].tolist() == ["lab"] * 3
    with pytest.raises(ValueError, match="lacks label_index"):
        write_examples(tmp_path / "b.parquet", rows.drop(columns="label_index"))
    rows[["example_id"]].to_parquet(tmp_path / "c.parquet")
    with pytest.raises(CacheError, match="lacks the column"):
        read_examples(tmp_path / "c.parquet")


def test_an_empty_table_has_the_same_columns(tmp_path):
    rows = pd.DataFrame(example_rows("train-0000.h5", "train", range(1)))
    write_examples(tmp_path / "a.parquet", rows.head(0))
    assert list(read_examples(tmp_path / "a.parquet").columns) == list(rows.columns)


def test_a_damaged_table_is_one_line(folder):
    data = bytearray((folder / EXAMPLES_FILE).read_bytes())
    data[20] ^= 0xFF
    (folder / EXAMPLES_FILE).write_bytes(data)
    with pytest.raises(CacheError, match=r"examples\.parquet: can't be read") as caught:
        _ = open_cache(folder).examples
    assert "\n" not in str(caught.value)
    (folder / LEDGER_FILE).unlink()
    with pytest.raises(CacheError, match=r"ledger\.parquet: can't be read"):
        _ = open_cache(folder).ledger


def test_counts_of_splits_and_ledger():
    table = pd.DataFrame(example_rows("a.h5", "train", [0, 1, 3]) + example_rows("b.h5", "test", [2]))
    table.loc[1, "clip_id"] = table.loc[0, "clip_id"]
    assert split_counts(table, CLASSES) == {
        "test": {"examples": 1, "clips": 1, "groups": 1, "classes": {"bark": 0, "rain": 0, "tick": 1}},
        "train": {"examples": 3, "clips": 2, "groups": 3, "classes": {"bark": 2, "rain": 1, "tick": 0}},
    }
    ledger = pd.DataFrame({"status": ["ok", "failed", "ok"], "reason": ["", "empty", ""]})
    assert ledger_counts(ledger) == {"status": {"failed": 1, "ok": 2}, "reason": {"": 2, "empty": 1}}


def open_files(folder):
    links = [str(link.resolve()) for link in Path("/proc/self/fd").iterdir()]
    return [link for link in links if link.startswith(str(folder)) and link.endswith(".h5")]


def test_few_files_stay_open(folder, monkeypatch):
    monkeypatch.setattr(cache_module, "MAX_OPEN", 2)
    cache = open_cache(folder)
    for seed in np.random.default_rng(0).integers(EXAMPLES, size=60):
        assert_is_example(cache.read(f"clip{seed:04d}#0"), seed)
        assert len(open_files(folder)) <= 2
    cache.close()
    assert open_files(folder) == []
    assert_is_example(cache.read("clip0000#0"), 0)


def test_many_threads_read_at_once(built, monkeypatch):
    monkeypatch.setattr(cache_module, "MAX_OPEN", 1)
    cache = open_cache(built)
    seeds = np.random.default_rng(0).integers(EXAMPLES, size=400).tolist()
    with ThreadPoolExecutor(8) as pool:
        for seed, found in zip(seeds, pool.map(lambda seed: cache.read(f"clip{seed:04d}#0"), seeds), strict=True):
            assert_is_example(found, seed)


def read_in_child(cache, connection):
    try:
        for seed in range(EXAMPLES):
            assert_is_example(cache.read(f"clip{seed:04d}#0"), seed)
        connection.send("fine")
    except BaseException as error:
        connection.send(repr(error))


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "through HDF5"])
def test_an_open_cache_can_be_read_on_both_sides_of_a_fork(built, monkeypatch, direct):
    if not direct:
        monkeypatch.setattr("audiodata.shards.reader.find_decoder", lambda: None)
    cache = open_cache(built)
    cache.read("clip0000#0")
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    children = [context.Process(target=read_in_child, args=(cache, theirs)) for _ in range(2)]
    for child in children:
        child.start()
    for seed in range(EXAMPLES):
        assert_is_example(cache.read(f"clip{seed:04d}#0"), seed)
    assert [ours.recv(), ours.recv()] == ["fine", "fine"]
    for child in children:
        child.join()


def test_a_fork_while_another_thread_opens_a_shard(built):
    """The child gets the lock as it was at that moment: held, by a thread that it doesn't have."""
    cache = open_cache(built)
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=read_in_child, args=(cache, theirs))
    with cache._lock:
        child.start()
    try:
        assert ours.poll(30) and ours.recv() == "fine"
    finally:
        child.kill()
        child.join()


def test_a_cache_can_be_pickled_while_open(built):
    cache = open_cache(built)
    cache.read("clip0000#0")
    again = pickle.loads(pickle.dumps(cache))
    assert_is_example(again.read("clip0009#0"), 9)
    assert again.manifest == cache.manifest


def test_reading_needs_no_file_lock(built):
    with (built / "train-0000.h5").open("rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert_is_example(open_cache(built).read("clip0000#0"), 0)


def read_as_nobody(connection):
    os.setgid(65534)
    os.setuid(65534)
    try:
        assert_is_example(open_cache(".").read("clip0000#0"), 0)
        assert not os.access(".", os.W_OK)
        connection.send("fine")
    except BaseException as error:
        connection.send(repr(error))


def test_reading_from_a_read_only_folder(folder, monkeypatch):
    for path in folder.iterdir():
        path.chmod(0o444)
    folder.chmod(0o555)
    if os.geteuid() != 0:
        assert_is_example(open_cache(folder).read("clip0000#0"), 0)
        return
    monkeypatch.chdir(folder)
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=read_as_nobody, args=(theirs,))
    child.start()
    assert ours.recv() == "fine"
    child.join()


def test_a_shard_that_was_replaced_while_open_is_noticed(folder, monkeypatch):
    cache = open_cache(folder)
    cache.read("clip0000#0")
    write_shard(folder / "train-0000.h5", range(50, 56))
    assert_is_example(cache.read("clip0000#0"), 0)
    cache.close()
    with pytest.raises(CacheError, match="has changed since the cache was opened"):
        cache.read("clip0000#0")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "no such shard"),
        (lambda path: path.write_bytes(path.read_bytes()[:5000]), "can't be opened as HDF5"),
        (lambda path: write_shard(path, range(3)), "differs from the manifest; run verify"),
    ],
)
def test_reading_a_damaged_shard_is_one_line(folder, damage, message):
    damage(folder / "train-0000.h5")
    with pytest.raises(CacheError, match=message) as caught:
        open_cache(folder).read("clip0000#0")
    assert "train-0000.h5" in str(caught.value) and "\n" not in str(caught.value)


def chunk_span(path, dataset, row):
    with h5py.File(path, "r", locking=False) as file:
        info = file[dataset].id.get_chunk_info(row)
    return info.byte_offset, info.size


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "through HDF5"])
def test_damaged_lengths_inside_a_chunk_never_reach_the_decoder(tmp_path, monkeypatch, direct):
    """The decoder follows these lengths anywhere in memory: without the check this test ends the process."""
    if not direct:
        monkeypatch.setattr("audiodata.shards.reader.find_decoder", lambda: None)
    path, layout = tmp_path / "a.h5", Layout((5, 4096), "float32", ("frame", "mel"))
    with ShardWriter(path, fingerprint="", split="s", features={"x": layout}, targets={}) as writer:
        writer.add("a", {"x": np.random.default_rng(0).normal(size=layout.shape).astype(np.float32)}, {})
    offset, _ = chunk_span(path, "features/x", 0)
    data = path.read_bytes()
    for position in [*range(10), *range(12, 16)]:
        for bit in (0, 5, 6, 7):
            damaged = bytearray(data)
            damaged[offset + position] ^= 1 << bit
            path.write_bytes(damaged)
            index = ShardIndex(path)
            with pytest.raises(CacheError, match=r"a\.h5: /features/x: row 0 can't be decoded"):
                index.read(index.open(), 0, "/features/x")


def test_damage_inside_a_block_gives_an_error_or_an_array(folder):
    path = folder / "train-0000.h5"
    offset, size = chunk_span(path, "features/mfcc", 0)
    data = path.read_bytes()
    refused = 0
    for position in np.random.default_rng(0).integers(8, size, size=80):
        damaged = bytearray(data)
        damaged[offset + position] ^= 0x55
        path.write_bytes(damaged)
        try:
            assert open_cache(folder).read("clip0000#0")["mfcc"].shape == (1, 31, 20)
        except CacheError as error:
            refused += 1
            assert "/features/mfcc: row 0 can't be decoded" in str(error)
    assert 0 < refused < 80


def test_an_empty_shard_is_a_shard(tmp_path):
    with ShardWriter(tmp_path / "a.h5", fingerprint="", split="s", features=FEATURES, targets={}) as writer:
        pass
    assert writer.record.examples == 0 and ShardIndex(tmp_path / "a.h5").examples == 0
