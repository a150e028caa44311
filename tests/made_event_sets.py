"""Small copies of the data sets of events, in the exact layouts and formats of their publishers."""

import numpy as np

AEDAT2_HEADER = b"#!AER-DAT2.0\r\n# This is a raw AE data file - do not edit\r\n# created by a test\r\n"
NMNIST_DIGITS = tuple("0123456789")
SHD_KEYS = (b"zero", b"one", b"two", b"null", b"eins", b"zwei")


def generator(*seed):
    return np.random.default_rng([1, *seed])


def write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def times(rng, count, last_us):
    return np.sort(rng.integers(0, last_us, count))


# MNIST-DVS


def aedat2(t, x, y, p):
    """Bytes of an AEDAT 2.0 file of a DVS128: addresses as wired."""
    words = np.empty((len(t), 2), ">u4")
    words[:, 0] = (np.asarray(y) << 8) | (np.asarray(x) << 1) | np.asarray(p)
    words[:, 1] = t
    return AEDAT2_HEADER + words.tobytes()


def some_aedat2(*seed, count=60, last_us=2_000_000):
    rng = generator(*seed)
    x, y = rng.integers(40, 88, (2, count))
    return aedat2(times(rng, count, last_us), x, y, rng.integers(0, 2, count))


def mnist_dvs_name(digit, scale, number):
    return f"mnist_{digit}_scale{scale:02d}_{number:04d}.aedat"


def write_mnist_dvs(root, digits="0123456789", per_digit=4, scales=(4, 8), part="grabbed"):
    for digit in digits:
        for scale in scales:
            for number in range(1, per_digit + 1):
                name = mnist_dvs_name(digit, scale, number)
                write(root / f"{part}_data{digit}" / f"scale{scale}" / name, some_aedat2(int(digit), scale, number))
    return root


# N-MNIST


def saccade_bytes(t, x, y, p):
    """Bytes of N-MNIST's kind of file: five an event."""
    data = np.empty((len(t), 5), np.uint8)
    t = np.asarray(t)
    data[:, 0], data[:, 1] = x, y
    data[:, 2] = (np.asarray(p) << 7) | (t >> 16)
    data[:, 3], data[:, 4] = (t >> 8) & 255, t & 255
    return data.tobytes()


def some_saccades(*seed, count=80):
    rng = generator(*seed)
    x, y = rng.integers(0, 34, (2, count))
    return saccade_bytes(times(rng, count, 300_000), x, y, rng.integers(0, 2, count))


def write_nmnist(root, parts=("Train", "Test"), digits=NMNIST_DIGITS, per_digit=2):
    """Lay files out as published: numbers run through all digits, as those of MNIST's images do."""
    for at, part in enumerate(parts):
        for digit in digits:
            for number in range(per_digit):
                name = f"{10 * number + int(digit) + 1:05d}.bin"
                write(root / part / digit / name, some_saccades(at, int(digit), number))
    return root


def write_slayer(root, digits=(5, 0, 4), part="train"):
    """Lay files out as SLAYER has them: by number, with a list of labels."""
    lines = ["#sample\tclass"]
    for number, digit in enumerate(digits, 1):
        write(root / part / f"{number}.bs2", some_saccades(digit, number))
        lines.append(f"{number}\t{digit}")
    (root / f"{part}_labels.txt").write_text("\n".join(lines) + "\n")
    return root


# N-TIDIGITS18

TRAIN_IDS = ("man-ae-a-1", "man-ae-b-1", "man-ae-a-z", "man-ae-a-o", "man-ae-a-1o4", "woman-ab-a-1", "woman-ab-a-9z", "woman-ab-b-9")
TEST_IDS = ("man-br-a-1", "man-br-a-z", "man-br-b-o", "woman-cd-a-9", "woman-cd-a-22")


def write_ntidigits(path, train=TRAIN_IDS, test=TEST_IDS, count=50):
    """Write the file: lists of ids, and times (s) and channels for each."""
    import h5py

    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for at, (part, ids) in enumerate((("train", train), ("test", test))):
            file[f"{part}_labels"] = np.array(ids, "S")
            for number, name in enumerate(ids):
                rng = generator(at, number)
                file[f"{part}_timestamps/{name}"] = times(rng, count, 800_000) / 1e6
                file[f"{part}_addresses/{name}"] = rng.integers(0, 64, count).astype(np.float64)
    return path


# what tonic lays out


def write_heidelberg(path, labels, speakers, count=40):
    """Write an HDF5 file of SHD or SSC: rows of different lengths, times in seconds."""
    import h5py

    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        seconds = file.create_dataset("spikes/times", (len(labels),), h5py.vlen_dtype(np.float16))
        units = file.create_dataset("spikes/units", (len(labels),), h5py.vlen_dtype(np.uint16))
        for number in range(len(labels)):
            rng = generator(number)
            seconds[number] = (times(rng, count + number, 900_000) / 1e6).astype(np.float16)
            units[number] = rng.integers(0, 700, count + number).astype(np.uint16)
        file["labels"] = np.array(labels, np.uint16)
        file["extra/keys"] = np.array(SHD_KEYS, "S")
        file["extra/speaker"] = np.array(speakers, np.uint16)
    return path


def write_shd(root):
    write_heidelberg(root / "SHD" / "shd_train.h5", [0, 1, 2, 3, 4, 5], [0, 0, 1, 1, 2, 2])
    write_heidelberg(root / "SHD" / "shd_test.h5", [5, 0], [2, 4])
    return root


def write_gestures(root, train=(1, 2), test=(24,), gestures=(0, 3)):
    """Write DVSGesture as tonic's archives hold it: x, y, p and t in milliseconds."""
    for part, users in (("ibmGestureTrain", train), ("ibmGestureTest", test)):
        for user in users:
            folder = root / "DVSGesture" / part / f"user{user:02d}_fluorescent"
            folder.mkdir(parents=True)
            for gesture in gestures:
                rng = generator(user, gesture)
                xyp = rng.integers(0, (128, 128, 2), (30, 3))
                np.save(folder / f"{gesture}.npy", np.column_stack([xyp, times(rng, 30, 6000)]))
    return root


# what a data set says of a recording, and the recording


def read_row(root, row):
    """Read what a row of a clips table names, as a build does."""
    import json

    from audiodata.events.readers import read_events

    return read_events(root / row["path"], json.loads(row["reader"]), row["item"], int(row["index"]))
