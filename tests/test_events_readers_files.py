"""N-MNIST, cochleas without a header, N-TIDIGITS18 and NumPy files: made by hand, and recorded."""

import multiprocessing
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest
from made_events import headerless_bytes, nmnist_bytes, ntidigits_file
from test_events_readers import recording, refusal

from audiodata.errors import EnvironmentFault
from audiodata.events.readers import read_events
from audiodata.events.readers.ntidigits import ntidigits_items
from audiodata.events.record import EVENT_1D, make_events
from audiodata.events.writing import save_events

NMNIST, NPZ, NTIDIGITS = {"format": "nmnist"}, {"format": "npz"}, {"format": "ntidigits"}


def cochlea(address_bytes=2, tick_us=1.0, **further):
    return {"format": "headerless", "address_bytes": address_bytes, "tick_us": tick_us, **further}


@pytest.fixture
def put(tmp_path):
    """Write bytes to a file."""

    def write(content, name="a.bin"):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return write


# N-MNIST


def test_one_nmnist_event_byte_by_byte(put):
    """x 7, y 33, ON (bit 7), time 0x123456 in 23 bits."""
    events = read_events(put(bytes([7, 33, 0x80 | 0x12, 0x34, 0x56])), NMNIST)
    assert events.array.tolist() == [(0x123456, 7, 33, 1)]
    assert events.sensor_size == (34, 34, 2)


def test_an_overflow_record_shifts_all_times_behind_it(put):
    path = put(nmnist_bytes([10, 0, 5, 0, 0, 6], [1, 9, 2, 9, 9, 3], [1, 240, 2, 240, 240, 3], [0, 1, 1, 0, 0, 0]))
    assert read_events(path, NMNIST).array.tolist() == [(10, 1, 1, 0), (8197, 2, 2, 1), (3 * 8192 + 6, 3, 3, 0)]


def test_nmnist_times_go_on_through_a_wrap(put, caplog):
    times = np.array([0, 8_388_600, 8_388_610, 16_000_000, 16_777_216])
    array = read_events(put(nmnist_bytes(times % (1 << 23), [0] * 5, [0] * 5, [0] * 5)), NMNIST).array
    np.testing.assert_array_equal(array["t"], times)
    assert not caplog.messages


def test_late_nmnist_events_are_sorted(put, caplog):
    array = read_events(put(nmnist_bytes([5, 9, 7, 9], [0, 1, 2, 3], [0] * 4, [0] * 4)), NMNIST).array
    assert array[["t", "x"]].tolist() == [(5, 0), (7, 2), (9, 1), (9, 3)]
    assert caplog.messages == ["a.bin: 1 of 4 events are late; sorted by time"]


def test_nmnist_cut_or_outside_the_sensor(put):
    whole = nmnist_bytes([5, 6], [0, 200], [0, 150], [0, 1])
    for cut in range(1, 5):
        assert refusal(put(whole[:-cut]), NMNIST).reason == "truncated"
    assert refusal(put(whole), NMNIST).message.startswith("a.bin: 1 of 2 events are outside the 34 x 34 sensor")
    assert read_events(put(whole), {**NMNIST, "sensor_size": [240, 180]}).array.tolist() == [(5, 0, 0, 0), (6, 200, 150, 1)]


def test_recorded_nmnist(shared_data):
    counts, lasts = [], []
    for number in range(1, 501):
        events = read_events(shared_data / "events" / "nmnist" / "train" / f"{number}.bs2", {"format": "auto"})
        counts.append(len(events.array))
        lasts.append(int(events.array["t"][-1]))
        assert events.sensor_size == (34, 34, 2)
        assert set(np.unique(events.array["p"])) == {0, 1}
    assert (min(counts), max(counts)) == (1112, 7152)
    assert (min(lasts), max(lasts)) == (296_841, 315_109)


def test_nmnist_is_what_tonic_reads(shared_data, put):
    io = pytest.importorskip("tonic.io", reason="tonic is not installed")
    rng = np.random.default_rng(0)
    y = np.where(rng.random(500) < 0.01, 240, rng.integers(0, 34, 500))
    made = put(nmnist_bytes(np.sort(rng.integers(0, 8192, 500)), rng.integers(0, 34, 500), y, rng.integers(0, 2, 500)))
    fields = np.dtype([("x", int), ("y", int), ("t", int), ("p", int)])
    for path in (made, *(shared_data / "events" / "nmnist" / "train" / f"{number}.bs2" for number in (1, 77, 500))):
        theirs, ours = io.read_mnist_file(str(path), fields), read_events(path, NMNIST).array
        for name in "txyp":
            np.testing.assert_array_equal(ours[name], theirs[name])


# Cochleas without a header

RECORDED = [
    ("130Hz_mono_64ch_ONOFF_addr2b_ts02", cochlea(2, 0.2), 331_949, range(126), 0.497, 0),
    ("sound_mono_32ch_ONOFF_addr2b_ts02", cochlea(2, 0.2, channels=32), 49_864, range(64), 1.145, 114_602),
    ("enun_stereo_64ch_ONOFF_addr4b_ts1", cochlea(4, 1.0, ears=2), 428_635, range(254), 13.741, 0),
]


@pytest.mark.parametrize(("name", "reader", "count", "addresses", "duration_s", "first_us"), RECORDED)
def test_recorded_cochleas(shared_data, name, reader, count, addresses, duration_s, first_us):
    events = read_events(shared_data / "events" / "cochlea_aedat" / f"{name}.aedat", reader)
    raw = np.unique(events.array["x"].astype(int) * 2 + 1 - events.array["p"])
    assert (len(events.array), raw.min(), raw.max()) == (count, addresses[0], addresses[-1])
    assert events.array["t"][0] == first_us
    assert events.duration_us / 1e6 == pytest.approx(duration_s, abs=5e-4)
    assert np.all(np.diff(events.array["t"]) >= 0)
    assert events.sensor_size == (reader.get("channels", 64) * reader.get("ears", 1), 1, 2)


def test_the_ears_of_a_recorded_cochlea_make_up_both(shared_data):
    path = shared_data / "events" / "cochlea_aedat" / "enun_stereo_64ch_ONOFF_addr4b_ts1.aedat"
    both, left, right = (read_events(path, cochlea(4, ears=2, ear=ear)) for ear in ("both", "left", "right"))
    assert left.sensor_size == right.sensor_size == (64, 1, 2)
    moved = right.array.copy()
    moved["x"] += 64
    rejoined = np.concatenate([left.array, moved])
    assert np.array_equal(np.sort(rejoined, order=["t", "x", "p"]), np.sort(both.array, order=["t", "x", "p"]))


@pytest.mark.parametrize("name", ["130Hz_mono_64ch_ONOFF_addr2b_ts02", "enun_stereo_64ch_ONOFF_addr4b_ts1"])
def test_recorded_cochleas_read_in_the_wrong_way(shared_data, name):
    path = shared_data / "events" / "cochlea_aedat" / f"{name}.aedat"
    reader = cochlea(4, ears=2) if "addr2b" in name else cochlea(2)
    assert refusal(path, reader).reason in {"truncated", "undecodable"}
    assert refusal(path, NMNIST).reason in {"truncated", "undecodable"}
    assert refusal(path, {"format": "auto"}).reason == "undecodable"


def test_one_cochlea_event_byte_by_byte(put):
    """Address 0x17 is channel 11, OFF; the even address before it is ON."""
    assert read_events(put(bytes.fromhex("0017 00000102")), cochlea()).array.tolist() == [(0x102, 11, 0)]
    assert read_events(put(bytes.fromhex("0016 00000102")), cochlea()).array.tolist() == [(0x102, 11, 1)]
    assert read_events(put(bytes.fromhex("00000017 00000102")), cochlea(4)).array.tolist() == [(0x102, 11, 0)]
    bare = read_events(put(bytes.fromhex("0017 00000102")), cochlea(polarity=False))
    assert (bare.array.tolist(), bare.sensor_size) == ([(0x102, 0x17, 0)], (64, 1, 1))


def test_ears(put):
    path = put(headerless_bytes([0, 2 * 63 + 1, 2 * 64, 2 * 127 + 1], [1, 2, 3, 4], 4))
    assert read_events(path, cochlea(4, ears=2)).array.tolist() == [(1, 0, 1), (2, 63, 0), (3, 64, 1), (4, 127, 0)]
    assert read_events(path, cochlea(4, ears=2, ear="left")).array.tolist() == [(1, 0, 1), (2, 63, 0)]
    assert read_events(path, cochlea(4, ears=2, ear="right")).array.tolist() == [(3, 0, 1), (4, 63, 0)]
    assert "got channel 127, expected 0 to 63" in refusal(path, cochlea(4)).message
    assert "got channel 127, expected 0 to 99" in refusal(path, cochlea(4, ears=2, channels=50, ear="left")).message
    silent = put(headerless_bytes([0, 2], [1, 2], 4))
    assert refusal(silent, cochlea(4, ears=2, ear="right")).reason == "empty"


TICKS = [(0.2, 1, 5), (1.0, 1, 1), (0.1, 1, 10), (0.7, 7, 10), (12.5, 25, 2), (0.0333, 333, 10_000), (999.9999, 9_999_999, 10_000)]


@pytest.mark.parametrize(("tick_us", "numerator", "denominator"), TICKS)
@pytest.mark.parametrize("address_bytes", [2, 4])
def test_ticks_are_rounded_down_exactly(put, tick_us, numerator, denominator, address_bytes):
    rng = np.random.default_rng(0)
    close = 4_000_000_000 + np.arange(8)  # times 999.9999: nearer to a whole number than float64 can tell
    stamps = np.unique(np.concatenate([np.arange(1000), rng.integers(0, 1 << 32, 1000), 2 ** np.arange(32), close, (1 << 32) - np.arange(1, 9)]))
    array = read_events(put(headerless_bytes(np.zeros(len(stamps), int), stamps, address_bytes)), cochlea(address_bytes, tick_us)).array
    assert array["t"].tolist() == [int(stamp) * numerator // denominator for stamp in stamps]


def test_ticks_wrap_before_they_become_microseconds(put):
    stamps = np.array([(1 << 32) - 5, (1 << 32) + 5, 3 << 31, (2 << 32) - 1, (2 << 32) + 1])
    array = read_events(put(headerless_bytes([0] * 5, stamps, 2)), cochlea(2, 0.2)).array
    assert array["t"].tolist() == (stamps // 5).tolist()


def test_a_header_in_front_of_a_cochlea_is_skipped(put):
    content = headerless_bytes([4, 6], [1, 2], 4)
    assert len(read_events(put(b"#!AER-DAT2.0\r\n# jAER\r\n" + content), cochlea(4)).array) == 2
    assert refusal(put(b"#!AER-DAT2.0\r\n# jAER"), cochlea(4)).reason == "truncated"


@pytest.mark.parametrize("address_bytes", [2, 4])
def test_a_cut_cochlea(put, address_bytes):
    whole = headerless_bytes([4, 6], [1, 2], address_bytes)
    for cut in range(1, address_bytes + 4):
        assert refusal(put(whole[:-cut]), cochlea(address_bytes)).reason == "truncated"


# N-TIDIGITS18


@pytest.fixture
def digits(tmp_path):
    train = {"man-ae-a-1o4": ([0.0, 1e-6, 0.5000004, 0.5000006], [0, 63, 5, 6]), "woman-ag-b-z": ([0.25], [7])}
    return ntidigits_file(tmp_path / "n-tidigits.hdf5", {"train": train, "test": {"man-ah-a-9": ([1.5, 2.0], [1, 2])}})


def test_items_and_their_events(digits):
    assert ntidigits_items(digits) == [("train", "man-ae-a-1o4"), ("train", "woman-ag-b-z"), ("test", "man-ah-a-9")]
    events = read_events(digits, {"format": "auto"}, "train/man-ae-a-1o4")
    assert events.array.tolist() == [(0, 0, 0), (1, 63, 0), (500_000, 5, 0), (500_001, 6, 0)]
    assert (events.sensor_size, events.array.dtype) == ((64, 1, 1), EVENT_1D)
    assert read_events(digits, NTIDIGITS, "test/man-ah-a-9").array["t"].tolist() == [1_500_000, 2_000_000]


def test_labels_may_be_text_in_any_form(tmp_path):
    for number, dtype in enumerate(["S20", h5py.string_dtype(), h5py.string_dtype("ascii")]):
        path = ntidigits_file(tmp_path / f"{number}.h5", {"train": {"man-ae-a-1": ([0.0], [1])}, "test": {}}, labels=dtype)
        assert ntidigits_items(path) == [("train", "man-ae-a-1")]


def test_an_item_that_is_not_there(digits):
    assert refusal(digits, NTIDIGITS, "train/man-ae-a-104").message == (
        "n-tidigits.hdf5: has no item `train/man-ae-a-104`; the nearest is `train/man-ae-a-1o4`"
    )
    for item in ("", "train", "train/", "man-ae-a-1o4", "valid/man-ae-a-1o4", "train/../train_labels", "train_labels"):
        assert refusal(digits, NTIDIGITS, item).reason == "undecodable"


@pytest.mark.parametrize(
    ("seconds", "channels", "message"),
    [
        ([0.0, 1.0], [1], "columns of different lengths"),
        ([np.nan], [1], "no seconds"),
        ([1e300], [1], "no seconds"),
        ([0.0], [64], "x runs from 64 to 64"),
        ([0.0], [-1], "x runs from -1"),
        ([b"x"], [1], "holds no numbers"),
        (np.arange(40)[::-1], np.zeros(40, int), "time runs backward"),
        ([], [], "holds no events"),
    ],
)
def test_an_item_that_makes_no_sense(tmp_path, seconds, channels, message):
    path = ntidigits_file(tmp_path / "a.h5", {"train": {"a": (seconds, channels)}, "test": {}})
    assert message in refusal(path, NTIDIGITS, "train/a").message


def test_another_hdf5_file(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["spikes"] = [1]
    assert refusal(tmp_path / "a.h5", NTIDIGITS, "train/a").reason == "undecodable"
    assert "an HDF5 file; name the `format`" in refusal(tmp_path / "a.h5", {"format": "auto"}, "train/a").message


def test_a_cut_hdf5_file(digits):
    content = digits.read_bytes()
    for share in (0.1, 0.5, 0.9):
        digits.write_bytes(content[: int(share * len(content))])
        assert refusal(digits, NTIDIGITS, "train/man-ae-a-1o4").reason == "truncated"


def test_many_threads_read_one_file(digits):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda item: len(read_events(digits, NTIDIGITS, item).array), ["train/man-ae-a-1o4", "test/man-ah-a-9"] * 40))
    assert found == [4, 2] * 40


def _events_in_child(path):
    return len(read_events(path, NTIDIGITS, "train/man-ae-a-1o4").array)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_reads_as_its_parent_does(digits):
    assert _events_in_child(digits) == 4
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(_events_in_child, [digits] * 8) == [4] * 8
    assert _events_in_child(digits) == 4


def test_the_file_is_closed_after_each_reading(digits):
    read_events(digits, NTIDIGITS, "test/man-ah-a-9")
    refusal(digits, NTIDIGITS, "test/man-ah-a-8")
    with h5py.File(digits, "a") as file:
        file["test_timestamps/man-ah-a-9"][0] = 1.25
    assert read_events(digits, NTIDIGITS, "test/man-ah-a-9").array["t"].tolist() == [1_250_000, 2_000_000]


def test_readers_load_neither_hdf5_nor_tonic_before_they_are_needed():
    code = "import sys, audiodata.events.readers; print(*{'h5py', 'tonic', 'pyarrow', 'numba'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split() == []


# NumPy files


@pytest.mark.parametrize("sensor_size", [(34, 34, 2), (64, 1, 2), (64, 1, 1)])
def test_what_is_saved_is_read(tmp_path, sensor_size):
    y = None if sensor_size[1] == 1 else np.array([1, 2, 3])
    events = make_events(np.array([-5, 7, 1 << 60]), np.array([0, 5, 33]), y, np.array([0, sensor_size[2] - 1, 0]), sensor_size)
    save_events(tmp_path / "a.npz", events)
    found = read_events(tmp_path / "a.npz", {"format": "auto"})
    assert found.sensor_size == sensor_size
    assert found.array.dtype == events.array.dtype
    assert found.array.tolist() == events.array.tolist()


def test_the_same_events_give_the_same_bytes_and_a_failed_write_nothing(tmp_path, monkeypatch):
    for name in ("a.npz", "b.npz"):
        save_events(tmp_path / name, recording())
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()

    def full(*arguments, **columns):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("numpy.savez_compressed", full)
    with pytest.raises(EnvironmentFault, match=r"c\.npz: can't be written \(No space left on device\)"):
        save_events(tmp_path / "c.npz", recording())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "b.npz"]


@pytest.mark.parametrize("fields", [
    [("x", "i2"), ("y", "i2"), ("t", "i8"), ("p", "?")],
    [("t", "u4"), ("x", "u2"), ("y", "u1"), ("p", "i1")],
    [("p", ">i4"), ("t", ">i8"), ("y", "i8"), ("x", "f4")],
])  # fmt: skip
def test_structured_arrays_as_users_of_tonic_save_them(tmp_path, fields):
    array = np.array([tuple({"t": 5, "x": 3, "y": 2, "p": 1}[name] for name, _ in fields)], dtype=fields)
    np.save(tmp_path / "a.npy", array)
    reader = {**NPZ, "sensor_size": [4, 4, 2]}
    if ("x", "f4") in fields:
        assert "`x` is float32 with 1 axes, expected integers" in refusal(tmp_path / "a.npy", reader).message
        return
    assert read_events(tmp_path / "a.npy", reader).array.tolist() == [(5, 3, 2, 1)]
    assert "give `sensor_size`" in refusal(tmp_path / "a.npy", {"format": "auto"}).message


def arrays(**changes):
    whole = {"t": np.array([1, 2]), "x": np.array([0, 1]), "y": np.array([0, 1]), "p": np.array([0, 1]), "sensor_size": np.array([2, 2, 2])}
    return {name: value for name, value in {**whole, **changes}.items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"t": None}, "has no `t`; expected t, x, y"),
        ({"x": None, "p": None}, "has no `x` or `p`"),
        ({"sensor_size": None}, "give `sensor_size`"),
        ({"sensor_size": np.array([2, 2])}, "not three sizes"),
        ({"sensor_size": np.array([2, 2, 3])}, "not three sizes"),
        ({"sensor_size": np.array([2.0, 2, 2])}, "not three sizes"),
        ({"sensor_size": np.array([0, 2, 2])}, "not three sizes"),
        ({"t": np.array([0.5, 1.5])}, "`t` is float64"),
        ({"t": np.array([[1, 2]])}, "with 2 axes"),
        ({"t": np.array([1, 2**63], np.uint64)}, "beyond 2 ** 63"),
        ({"p": np.array([-1, 1])}, "p runs from -1 to 1, the sensor has 0 to 1"),
        ({"y": np.array([0, 2])}, "y runs from 0 to 2"),
        ({"x": np.array([0, 1, 1])}, "columns of different lengths (t: 2, x: 3"),
        ({"t": np.array([{}, {}], dtype=object)}, "`t` holds pickled objects"),
    ],
)
def test_arrays_that_make_no_sense(tmp_path, changes, message):
    np.savez(tmp_path / "a.npz", **arrays(**changes))
    assert message in refusal(tmp_path / "a.npz", NPZ).message


def test_late_events_of_an_array_are_sorted(tmp_path, caplog):
    np.savez(tmp_path / "a.npz", **arrays(t=np.array([5, 4])))
    assert read_events(tmp_path / "a.npz", NPZ).array.tolist() == [(4, 1, 1, 1), (5, 0, 0, 0)]
    assert "1 of 2 events are late" in caplog.messages[0]


def test_sizes_that_disagree(tmp_path):
    np.savez(tmp_path / "a.npz", **arrays())
    assert read_events(tmp_path / "a.npz", {**NPZ, "sensor_size": [2, 2, 2]}).sensor_size == (2, 2, 2)
    assert "`sensor_size` = [4, 2, 2], the file says [2, 2, 2]" in refusal(tmp_path / "a.npz", {**NPZ, "sensor_size": [4, 2, 2]}).message


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_cut_npz(tmp_path, save):
    save(tmp_path / "a.npz", **arrays())
    whole = (tmp_path / "a.npz").read_bytes()
    for share in (0.02, 0.4, 0.99):
        (tmp_path / "a.npz").write_bytes(whole[: int(share * len(whole))])
        assert refusal(tmp_path / "a.npz", NPZ).reason == "truncated"


def test_a_cut_npy_and_one_that_promises_more_than_memory_holds(tmp_path):
    path, reader = tmp_path / "a.npy", {**NPZ, "sensor_size": [4, 4, 2]}
    np.save(path, recording().array)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    error = refusal(path, reader)
    assert (error.reason, error.message) == ("truncated", "a.npy: the array promises 320 bytes, 319 are there; fetch it again")
    path.write_bytes(whole.replace(b"(20,), }" + b" " * 18, b"(99999999999999999999,), }", 1))
    assert refusal(path, reader).reason == "truncated"


def test_several_arrays_in_one_npy(tmp_path):
    with (tmp_path / "a.npy").open("wb") as file:
        np.save(file, recording().array)
        np.save(file, recording().array)
    error = refusal(tmp_path / "a.npy", {**NPZ, "sensor_size": [34, 34, 2]})
    assert error.reason == "undecodable"
    assert "several arrays" in error.message


def test_a_flipped_byte_in_an_npz_is_noticed_by_its_checksum(tmp_path):
    np.savez(tmp_path / "a.npz", **arrays())
    content = bytearray((tmp_path / "a.npz").read_bytes())
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        end = archive.infolist()[1].header_offset
    content[end - 1] ^= 1
    (tmp_path / "a.npz").write_bytes(bytes(content))
    assert refusal(tmp_path / "a.npz", NPZ).reason == "undecodable"
