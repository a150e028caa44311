"""Verifying a cache: whatever is damaged is found, and the line says where."""

import json
import shutil

import h5py
import numpy as np
import pandas as pd
import pytest
from shard_helpers import build_cache, example_rows, write_shard

from audiodata.errors import CacheError
from audiodata.shards import (
    EXAMPLES_FILE,
    LEDGER_FILE,
    MANIFEST_FILE,
    ShardWriter,
    read_examples,
    read_ledger,
    read_manifest,
    read_shard_record,
    verify_cache,
    write_examples,
    write_ledger,
)
from audiodata.shards.bitshuffle import COMPRESSION, find_flaw
from audiodata.shards.chunks import iterate_rows, read_rows_into
from audiodata.shards.format import hash_dataset
from audiodata.shards.verify import repacked_rows, shard_problems

SHARD = "train-0001.h5"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return build_cache(tmp_path_factory.mktemp("caches") / "cache", per_shard=4)


@pytest.fixture
def folder(built, tmp_path):
    return shutil.copytree(built, tmp_path / "cache")


def the_one(problems):
    assert len(problems) == 1 and "\n" not in problems[0], problems
    return problems[0]


def places(path):
    """Return the data set that each byte of a shard belongs to; "" for none."""
    owner = np.full(path.stat().st_size, "", dtype=object)
    with h5py.File(path, "r", locking=False) as file:
        for name in ("/features/mfcc", "/features/log_mel"):
            dataset = file[name]
            for row in range(len(dataset)):
                info = dataset.id.get_chunk_info(row)
                owner[info.byte_offset : info.byte_offset + info.size] = name
        for name in ("/targets/label", "/targets/length", "/example_id"):
            start = file[name].id.get_offset()
            owner[start : start + file[name].nbytes] = name
    return owner


def flip(path, data, offset, mask):
    damaged = bytearray(data)
    damaged[offset] ^= mask
    path.write_bytes(damaged)


def test_a_sound_cache_has_no_problems(built):
    seen = []
    assert verify_cache(built, seen.append) == []
    assert seen == ["train-0000.h5", "train-0001.h5", "val-0000.h5", "test-0000.h5"]
    assert verify_cache(str(built)) == []


def test_a_flipped_byte_in_a_data_set_names_shard_and_data_set(folder):
    path, manifest = folder / SHARD, read_manifest(folder / MANIFEST_FILE)
    data, owner = path.read_bytes(), places(path)
    rng = np.random.default_rng(0)
    for name in ("/features/mfcc", "/features/log_mel", "/targets/label", "/targets/length", "/example_id"):
        inside = np.flatnonzero(owner == name)
        for offset in rng.choice(inside, size=min(40, len(inside)), replace=False):
            flip(path, data, offset, int(rng.integers(1, 256)))
            line = the_one(shard_problems(folder, manifest, manifest["shards"][1]))
            assert line.startswith(f"{SHARD}: {name}: "), (offset, line)


def test_a_flipped_byte_anywhere_else_is_found(folder):
    path, manifest = folder / SHARD, read_manifest(folder / MANIFEST_FILE)
    data, outside = path.read_bytes(), np.flatnonzero(places(path) == "")
    rng = np.random.default_rng(1)
    for offset in rng.choice(outside, size=100, replace=False):
        flip(path, data, offset, 1 << int(rng.integers(8)))
        problems = shard_problems(folder, manifest, manifest["shards"][1])
        assert problems and all(line.startswith(f"{SHARD}: ") and "\n" not in line for line in problems), offset


def test_the_whole_command_reports_a_flipped_byte(folder):
    path = folder / SHARD
    offset = int(np.flatnonzero(places(path) == "/features/mfcc")[100])
    flip(path, path.read_bytes(), offset, 0x10)
    assert the_one(verify_cache(folder)).startswith(f"{SHARD}: /features/mfcc: ")


def test_other_bytes_for_the_same_numbers_are_found(folder):
    """A chunk packed in another way decodes to the same content; only packing it again shows which one it is."""
    path = folder / SHARD
    with h5py.File(path, "r", locking=False) as file:
        dataset = file["features/mfcc"]
        info, row_bytes = dataset.id.get_chunk_info(2), dataset.nbytes // len(dataset)
    data = bytearray(path.read_bytes())
    block = slice(info.byte_offset + 8, info.byte_offset + 12)
    data[block] = (2 * int.from_bytes(data[block], "big")).to_bytes(4, "big")
    assert find_flaw(data[info.byte_offset : info.byte_offset + info.size], row_bytes, 4) == ""
    path.write_bytes(data)
    with h5py.File(path, "r", locking=False) as file:
        assert repacked_rows(file["features/mfcc"]) == [2] and repacked_rows(file["features/log_mel"]) == []
    assert the_one(verify_cache(folder)).startswith(f"{SHARD}: /features/mfcc: row 2: bytes differ, though")


def test_content_is_the_same_through_hdf5_and_without_it(built, monkeypatch):
    directly = read_shard_record(built / SHARD)
    through = []
    monkeypatch.setattr("audiodata.shards.chunks.find_decoder", lambda: None)
    monkeypatch.setattr(
        "audiodata.shards.chunks.read_rows_into", lambda *arguments: through.append(arguments[0].name) or read_rows_into(*arguments)
    )
    assert read_shard_record(built / SHARD) == directly
    assert set(through) == {"/features/mfcc", "/features/log_mel"}


def test_a_chunk_that_says_it_is_not_packed_is_not_unpacked(tmp_path):
    """Its bytes are those of a packed row, but whoever reads it through HDF5 does not get that row."""
    rows = np.arange(40 * 64, dtype=np.float32).reshape(1, 40, 64)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        shapes = {"shape": (1, 40, 64), "maxshape": (None, 40, 64), "chunks": (1, 40, 64)}
        right, wrong = (file.create_dataset(name, dtype="<f4", **shapes, **COMPRESSION) for name in ("right", "wrong"))
        right[:] = rows
        packed = right.id.read_direct_chunk((0, 0, 0))[1]
        wrong.id.write_direct_chunk((0, 0, 0), packed, filter_mask=1)
    with h5py.File(tmp_path / "a.h5", "r") as file:
        assert (next(iterate_rows(file["right"])) == rows).all()
        with pytest.raises(ValueError, match="row 0: is marked as not packed"):
            hash_dataset(file["wrong"])


def test_truncated_missing_swapped_and_rebuilt_shards(folder):
    path, other = folder / SHARD, folder / "train-0000.h5"
    data = path.read_bytes()
    for length in (0, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        problems = verify_cache(folder)
        assert problems[0] == f"{SHARD}: has {length} bytes, the manifest says {len(data)}"
        assert all(line.startswith(f"{SHARD}: ") for line in problems)
    path.unlink()
    assert the_one(verify_cache(folder)) == f"{SHARD}: missing; run the build again, finished shards are kept"
    path.write_bytes(other.read_bytes())
    other.write_bytes(data)
    problems = verify_cache(folder)
    assert f"{SHARD}: is train-0000.h5; were the files swapped?" in problems
    assert f"train-0000.h5: is {SHARD}; were the files swapped?" in problems
    write_shard(other, range(4))
    write_shard(path, range(50, 54))
    assert any(line.startswith(f"{SHARD}: /example_id: decoded content differs") for line in verify_cache(folder))


def test_bytes_appended_to_a_shard_are_found(folder):
    with (folder / SHARD).open("ab") as file:
        file.write(b"\0")
    assert "bytes, the manifest says" in the_one(verify_cache(folder))


def change(manifest, path, value):
    *parents, last = path
    for key in parents:
        manifest = manifest[key]
    manifest[last] = value


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("shards", 1, "examples"), 5, "has 4 examples, the manifest says 5"),
        (("shards", 1, "bytes"), 5, "bytes, the manifest says 5"),
        (("shards", 1, "sha256"), "0" * 64, "outside any data set: bytes differ"),
        (("shards", 1, "content_sha256"), "0" * 64, "`content_sha256` isn't that of its data sets"),
        (("shards", 1, "datasets", "/features/mfcc"), "0" * 64, "/features/mfcc: decoded content differs"),
        (("shards", 1, "fingerprint"), "other", "structure: `fingerprint` is"),
        (("shards", 1, "split"), "test", "structure: `split` is 'train', the manifest says 'test'"),
        (("features", "mfcc", "unit"), "Pa", "/features/mfcc: is {'shape'"),
        (("features", "mfcc", "shape"), [1, 31, 21], "/features/mfcc: is {'shape'"),
        (("features", "mfcc", "dtype"), "int32", "/features/mfcc: is {'shape'"),
        (("targets", "label", "dtype"), "int32", "/targets/label: is {'shape'"),
        (("splits", "train", "groups"), 3, "examples.parquet: train: counts"),
        (("splits", "train", "classes", "bark"), 30, "examples.parquet: train: counts"),
        (("counts", "status"), {"ok": 1}, "ledger.parquet: status: counts"),
        (("tables", "ledger.parquet", "sha256"), "0" * 64, "ledger.parquet: bytes differ"),
    ],
)
def test_an_edited_manifest_is_found(folder, path, value, message):
    manifest = json.loads((folder / MANIFEST_FILE).read_text())
    change(manifest, path, value)
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest))
    assert any(message in line for line in verify_cache(folder)), verify_cache(folder)


def test_a_feature_more_or_less_in_the_manifest(folder):
    manifest = json.loads((folder / MANIFEST_FILE).read_text())
    del manifest["features"]["mfcc"]
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest))
    problems = verify_cache(folder)
    assert f"{SHARD}: structure: unexpected data set /features/mfcc" in problems
    assert f"manifest.json: {SHARD}: `datasets` names /features/mfcc on one side alone" in problems


def test_a_shard_named_twice(folder):
    manifest = json.loads((folder / MANIFEST_FILE).read_text())
    manifest["shards"].append(manifest["shards"][0])
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest))
    assert "manifest.json: names train-0000.h5 more than once" in verify_cache(folder)


def test_files_that_do_not_belong(folder):
    (folder / "train-0009.h5").write_bytes(b"")
    (folder / ".train-0000.h5.12-00ff00ff.tmp").write_bytes(b"")
    (folder / "notes").mkdir()
    assert verify_cache(folder) == [
        ".train-0000.h5.12-00ff00ff.tmp: left by an interrupted build; remove it",
        "notes: not named by the manifest; remove it",
        "train-0009.h5: not named by the manifest; remove it",
    ]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda t: t.drop(index=5), "has 3 rows for train-0000.h5, which has 4"),
        (lambda t: pd.concat([t, t.tail(1)]), "is there more than once"),
        (lambda t: t.assign(label_index=t["label_index"].replace(1, 0)), "label_index of row 1 of train-0000.h5 is"),
        (lambda t: t.assign(group_id="one"), "group 'one' is in more than one split"),
        (lambda t: t.assign(shard=t["shard"].replace(SHARD, "train-0002.h5")), "names train-0002.h5, which the manif"),
        (lambda t: t.assign(example_id=t["example_id"].replace("clip0004#0", "clip")), "example_id of row 0 of"),
        (lambda t: t.assign(split=t["split"].where(t["row"] > 0, "val")), "split of row 0 of train-0000.h5 is 'val'"),
    ],
)
def test_an_edited_table_of_examples_is_found(folder, edit, message):
    write_examples(folder / EXAMPLES_FILE, edit(read_examples(folder / EXAMPLES_FILE)))
    problems = verify_cache(folder)
    assert f"{EXAMPLES_FILE}: bytes differ from the manifest; run the build again, finished shards are kept" in problems
    assert any(line.startswith(f"{EXAMPLES_FILE}: ") and message in line for line in problems), problems


def test_tables_that_are_missing_damaged_or_wrong(folder):
    write_ledger(folder / LEDGER_FILE, read_ledger(folder / LEDGER_FILE).assign(status="failed"))
    (folder / EXAMPLES_FILE).write_bytes(b"PAR1")
    problems = verify_cache(folder)
    assert any(line.startswith(f"{LEDGER_FILE}: status: counts") for line in problems)
    assert any(line.startswith(f"{EXAMPLES_FILE}: can't be read") for line in problems)
    (folder / LEDGER_FILE).unlink()
    assert any(line.startswith(f"{LEDGER_FILE}: can't be read") for line in verify_cache(folder))


def test_without_a_manifest_there_is_nothing_to_verify(folder):
    (folder / MANIFEST_FILE).unlink()
    with pytest.raises(CacheError, match="the build isn't finished"):
        verify_cache(folder)


def test_an_empty_shard_is_sound(tmp_path):
    folder = build_cache(tmp_path / "cache", per_shard=0)
    assert verify_cache(folder) == []
    assert read_shard_record(folder / "train-0000.h5").examples == 0


def test_a_record_of_a_damaged_shard_is_refused(folder):
    """So a build that finds a shard under a final name can tell whether to keep it."""
    path = folder / SHARD
    data, owner = path.read_bytes(), places(path)
    for name in ("/features/log_mel", "/targets/length", "/example_id"):
        flip(path, data, int(np.flatnonzero(owner == name)[-3]), 0x81)
        with pytest.raises(CacheError, match=f"{SHARD}: {name}: ") as caught:
            read_shard_record(path)
        assert "remove the shard and build again" in str(caught.value)


def test_rows_of_a_label_target_of_other_values(folder):
    """The table and the shards each agree with the manifest's hashes, but not with each other."""
    rows = pd.DataFrame(example_rows(SHARD, "train", range(4)))
    assert rows["label_index"].tolist() == [0, 1, 2, 0]
    manifest = json.loads((folder / MANIFEST_FILE).read_text())
    table = read_examples(folder / EXAMPLES_FILE)
    swapped = table.assign(label_index=(table["label_index"] + 1) % 3)
    manifest["tables"][EXAMPLES_FILE] = write_examples(folder / EXAMPLES_FILE, swapped)
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest))
    problems = verify_cache(folder)
    assert len(problems) == 4 and all("label_index of row 0" in line for line in problems)


def test_writer_and_verify_agree_about_every_kind_of_data_set(tmp_path):
    with ShardWriter(tmp_path / "a.h5", fingerprint="", split="s", features={}, targets={}) as writer:
        writer.add("only ids", {}, {})
    assert list(writer.record.datasets) == ["/example_id"]
