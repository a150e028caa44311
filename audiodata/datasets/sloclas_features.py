"""The features that the authors of SLoClas computed, read from their MATLAB file and turned into arrays for training.

The file (``featall.mat`` or ``feat618dim.mat``) is MATLAB v7.3, which is HDF5 with the axes in reverse order. It has a row a recording:
``class`` (from 1), ``doa`` (degrees, 360 = 0), ``feat`` (27 frames of 618 values: GCC-PHAT of 6 pairs at 51 lags, then 39 MFCC of one
microphone in each of 8 sub-frames) and ``doafeat360`` (targets). Each frame's two parts are scaled to 0 to 1. Which recording a row is, and
so which sound was played, the file does not say: a split of its rows has the same sounds on both sides.

Read a part of it (`read_feature_mat`), or write all of it as arrays that need no memory (`convert_feature_mat`) and train on these::

    folder = convert_feature_mat(Path("featall.mat"), Path("featall"))
    gcc_phat = np.load(folder / "gcc_phat.npy", mmap_mode="r")  # [recording, pair, frame, lag]
    azimuth_deg, label = np.load(folder / "azimuth_deg.npy"), np.load(folder / "label.npy")
"""

import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from audiodata.datasets.azimuths import AzimuthConvention
from audiodata.errors import MetadataError

PAIRS, LAGS = 6, 51
SUB_FRAMES, COEFFICIENTS = 8, 39
VALUES = PAIRS * LAGS + SUB_FRAMES * COEFFICIENTS
CLASSES = 10
ROWS_AT_ONCE = 1024  # 140 MB as double precision

_AS_COUNTED = AzimuthConvention()


class FeatureRows(NamedTuple):
    """Some rows of the file, with the axes in their usual order.

    Attributes
    ----------
    label : int64 [row]
        Class, counted from 0.
    azimuth_deg : float32 [row]
        In [0, 360).
    gcc : float32 [row, frame, pair, lag]
        GCC-PHAT of lags -25 to 25, scaled to 0 to 1 over each frame.
    mfcc : float32 [row, frame, 8 * 39]
        Sub-frame after sub-frame, scaled likewise.
    """

    label: np.ndarray
    azimuth_deg: np.ndarray
    gcc: np.ndarray
    mfcc: np.ndarray


def read_feature_mat(path: Path, start: int = 0, stop: int | None = None, azimuths: AzimuthConvention = _AS_COUNTED) -> FeatureRows:
    """Read rows of the authors' feature file.

    Parameters
    ----------
    path : Path
    start, stop : int
        Rows; by default all of them: 4.7 GB for the whole collection, see `convert_feature_mat`.
    azimuths : AzimuthConvention
        How its azimuths are counted.

    Returns
    -------
    FeatureRows

    Raises
    ------
    MetadataError
        Not a v7.3 file, a variable that is missing or of another shape, a class or an azimuth that is none.

    Notes
    -----
    The order of the pairs, and that the 312 values are sub-frame after sub-frame, is not documented; the arrays keep the file's order.
    """
    with _opened(Path(path)) as file:
        rows = _row_count(Path(path), file)
        return _read(Path(path), file, slice(start, rows if stop is None else min(stop, rows)), azimuths)


def convert_feature_mat(path: Path, folder: Path, azimuths: AzimuthConvention = _AS_COUNTED) -> Path:
    """Write the authors' feature file as NumPy arrays, block by block.

    Parameters
    ----------
    path : Path
    folder : Path
        Made, and there only when it is whole: ``gcc_phat.npy`` float32 [row, pair, frame, lag], ``mfcc.npy`` float32 [row, frame, 312],
        ``azimuth_deg.npy`` float32 [row] and ``label.npy`` int64 [row], counted from 0.
    azimuths : AzimuthConvention
        How its azimuths are counted.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    MetadataError
        As `read_feature_mat`; or the folder is there already.
    """
    folder = Path(folder)
    if folder.exists():
        raise MetadataError(f"{folder}: is there already; remove it, or convert to another folder")
    with _opened(Path(path)) as file:
        rows, frames = _row_count(Path(path), file), file["feat"].shape[1]
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            arrays = _new_arrays(made, rows, frames)
            for start in range(0, rows, ROWS_AT_ONCE):
                block = slice(start, min(start + ROWS_AT_ONCE, rows))
                read = _read(Path(path), file, block, azimuths)
                arrays["label"][block], arrays["azimuth_deg"][block] = read.label, read.azimuth_deg
                arrays["gcc_phat"][block], arrays["mfcc"][block] = read.gcc.transpose(0, 2, 1, 3), read.mfcc
            for array in arrays.values():
                array.flush()
            made.chmod(0o755)
            made.rename(folder)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    return folder


def _new_arrays(folder: Path, rows: int, frames: int) -> dict[str, np.memmap]:
    shapes = {
        "gcc_phat": ((rows, PAIRS, frames, LAGS), np.float32),
        "mfcc": ((rows, frames, SUB_FRAMES * COEFFICIENTS), np.float32),
        "azimuth_deg": ((rows,), np.float32),
        "label": ((rows,), np.int64),
    }
    return {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=dtype, shape=shape) for name, (shape, dtype) in shapes.items()
    }


def _opened(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        found = "no such file" if not path.is_file() else f"not readable as MATLAB v7.3 ({error}); save it with -v7.3"
        raise MetadataError(f"{path}: {' '.join(found.split())}") from None


def _row_count(path: Path, file: h5py.File) -> int:
    """Check the shapes of all variables; h5py shows them reversed, so `feat` is [value, frame, row] here."""
    missing = [name for name in ("class", "doa", "feat") if not isinstance(file.get(name), h5py.Dataset)]
    if missing:
        raise MetadataError(f"{path}: no variable `{missing[0]}`; variables: {', '.join(name for name in file if name[0] != '#')}")
    shape = file["feat"].shape
    if len(shape) != 3 or shape[0] != VALUES:
        raise MetadataError(f"{path}: `feat` is {shape[::-1]}, expected (recordings, frames, {VALUES})")
    for name in ("class", "doa"):
        if file[name].size != shape[2]:
            raise MetadataError(f"{path}: `{name}` has {file[name].size} values, `feat` has {shape[2]} rows")
    return shape[2]


def _read(path: Path, file: h5py.File, rows: slice, azimuths: AzimuthConvention) -> FeatureRows:
    values = np.asarray(file["feat"][:, :, rows], dtype=np.float32).transpose(2, 1, 0)
    gcc, mfcc = values[..., : PAIRS * LAGS], values[..., PAIRS * LAGS :]
    _refuse(path, rows, "feat", ~np.isfinite(values).all(axis=(1, 2)), np.full(len(values), np.nan), "finite")
    label, azimuth_deg = _column(file["class"], rows), _column(file["doa"], rows)
    _refuse(path, rows, "class", ~np.isin(label, np.arange(1, CLASSES + 1)), label, f"a number from 1 to {CLASSES}")
    _refuse(path, rows, "doa", ~((azimuth_deg >= 0) & (azimuth_deg <= 360)), azimuth_deg, "degrees from 0 to 360")
    return FeatureRows(
        label.astype(np.int64) - 1,
        azimuths.converted(azimuth_deg).astype(np.float32),
        np.ascontiguousarray(gcc).reshape(*gcc.shape[:2], PAIRS, LAGS),
        np.ascontiguousarray(mfcc),
    )


def _column(variable: h5py.Dataset, rows: slice) -> np.ndarray:
    return np.asarray(variable[...], dtype=np.float64).reshape(-1)[rows]


def _refuse(path: Path, rows: slice, name: str, bad: np.ndarray, values: np.ndarray, expected: str) -> None:
    if bad.any():
        at = int(np.argmax(bad))
        raise MetadataError(f"{path}: `{name}` of row {rows.start + at + 1} is {values[at]:g}, expected {expected}")
