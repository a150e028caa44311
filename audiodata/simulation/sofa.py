"""Impulse responses that were measured: SOFA files (AES69), which are HDF5 inside.

Read are files of finite impulse responses with one emitter, as the conventions SimpleFreeFieldHRIR, GeneralFIR, SingleRoomDRIR and
SingleRoomSRIR have them. A file's directions are brought into the listener's frame, where azimuth 0 is the view and 90 is left.
"""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from audiodata.audio import resample
from audiodata.errors import MetadataError
from audiodata.geometry import direction, wrapped_azimuth_deg
from audiodata.simulation.delays import HALF_WIDTH, Responses, delayed_impulses

_NAMED = 3  # so many nearest directions are named where none is near enough


class Measured(NamedTuple):
    """What a SOFA file holds.

    Attributes
    ----------
    taps : float64 [direction, channel, tap]
        A channel is a receiver, in the file's order.
    delays : float64 [direction, channel]
        Samples of silence before the taps.
    sample_rate : int
        In Hz.
    azimuths_deg, elevations_deg, distances_m : float64 [direction]
        Of the source, seen by the listener.
    """

    taps: np.ndarray
    delays: np.ndarray
    sample_rate: int
    azimuths_deg: np.ndarray
    elevations_deg: np.ndarray
    distances_m: np.ndarray


def read_sofa(path: Path) -> Measured:
    """Read a SOFA file.

    Parameters
    ----------
    path : Path

    Raises
    ------
    MetadataError
        Not a SOFA file, damaged, or of a kind that holds no finite impulse responses.
    """
    try:
        with h5py.File(path, "r", locking=False) as file:
            return _read(file, path)
    except KeyError as error:
        raise MetadataError(f"{path}: no SOFA file of impulse responses ({' '.join(str(error).split())})") from None
    except OSError as error:
        raise MetadataError(f"{path}: can't be read as SOFA, which is HDF5 ({' '.join(str(error).split())}); check the path and the file") from None


def _read(file: h5py.File, path: Path) -> Measured:
    kind = _text(file.attrs.get("DataType", ""))
    if _text(file.attrs.get("Conventions", "")) != "SOFA" or kind != "FIR":
        raise MetadataError(f"{path}: expected a SOFA file of finite impulse responses (DataType FIR), got DataType {kind or 'none'!r}")
    taps = file["Data.IR"][...].astype(np.float64)
    if taps.ndim != 3 or not taps.size or not np.isfinite(taps).all():
        raise MetadataError(f"{path}: Data.IR has shape {taps.shape}; expected finite numbers [measurement, receiver, sample]")
    directions = np.broadcast_to(_in_listeners_frame(file), (len(taps), 3))
    distances = np.linalg.norm(directions, axis=1)
    delays = np.broadcast_to(file["Data.Delay"][...], taps.shape[:2]) if "Data.Delay" in file else np.zeros(taps.shape[:2])
    return Measured(
        taps,
        delays,
        round(float(np.ravel(file["Data.SamplingRate"][...])[0])),
        wrapped_azimuth_deg(np.degrees(np.arctan2(directions[:, 1], directions[:, 0]))),
        np.degrees(np.arcsin(np.clip(directions[:, 2] / np.maximum(distances, 1e-9), -1, 1))),
        distances,
    )


def _in_listeners_frame(file: h5py.File) -> np.ndarray:
    """Return the sources' positions, float64 [direction or 1, 3]: x along the listener's view, y to the left, z up."""
    source = _cartesian(file, "SourcePosition")
    listener = _cartesian(file, "ListenerPosition") if "ListenerPosition" in file else np.zeros((1, 3))
    view = _unit(_cartesian(file, "ListenerView")) if "ListenerView" in file else np.array([[1.0, 0.0, 0.0]])
    up = _cartesian(file, "ListenerUp", "ListenerView") if "ListenerUp" in file else np.array([[0.0, 0.0, 1.0]])
    up = _unit(up - np.sum(up * view, axis=1, keepdims=True) * view)
    left = np.cross(up, view)
    towards = source - listener
    return np.stack([np.sum(towards * axis, axis=1) for axis in (view, left, up)], axis=1)


def _cartesian(file: h5py.File, name: str, typed_by: str = "") -> np.ndarray:
    """Return a position's values in metres (or as a direction), float64 [direction or 1, 3]."""
    values = file[name][...].astype(np.float64)
    values = values.reshape(-1, values.shape[-1])[:, :3]
    attributes = file[name].attrs if "Type" in file[name].attrs or not typed_by else file[typed_by].attrs
    if _text(attributes.get("Type", "cartesian")) != "spherical":
        return values
    return direction(values[:, 0], values[:, 1]) * values[:, 2:3]


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _text(value: bytes | str | np.ndarray) -> str:
    value = value.decode() if isinstance(value, bytes) else value
    return str(value)


def nearest(measured: Measured, azimuth_deg: float, elevation_deg: float, tolerance_deg: float, name: str = "responses") -> int:
    """Number of the measured direction that is nearest to one asked for.

    Parameters
    ----------
    measured : Measured
    azimuth_deg, elevation_deg : float
    tolerance_deg : float
        Greatest angle between the two.
    name : str
        What to call the file in messages.

    Raises
    ------
    MetadataError
        None is near enough; names the nearest ones.
    """
    cosines = direction(measured.azimuths_deg, measured.elevations_deg) @ direction(azimuth_deg, elevation_deg)
    sines = np.linalg.norm(np.cross(direction(measured.azimuths_deg, measured.elevations_deg), direction(azimuth_deg, elevation_deg)), axis=1)
    angles = np.degrees(np.arctan2(sines, cosines))
    order = np.argsort(np.round(angles, 6), kind="stable")
    if angles[order[0]] > tolerance_deg + 1e-6:
        known = ", ".join(f"{measured.azimuths_deg[at]:.1f}/{measured.elevations_deg[at]:.1f}" for at in order[:_NAMED])
        raise MetadataError(
            f"{name}: nothing was measured within {tolerance_deg:g} degrees of azimuth {azimuth_deg:g}, elevation {elevation_deg:g}; "
            f"the nearest are (azimuth/elevation) {known}; ask for those or raise `tolerance_deg`"
        )
    return int(order[0])


def measured_responses(measured: Measured, at: int, sample_rate: int) -> Responses:
    """Impulse responses of one direction, at another sample rate.

    Parameters
    ----------
    measured : Measured
    at : int
        Number of the direction.
    sample_rate : int
        In Hz; their level as filters stays the same.

    Returns
    -------
    Responses
    """
    taps = measured.taps[at]
    if measured.delays[at].any():
        silence = delayed_impulses(measured.delays[at], np.ones(len(taps)), measured.delays.max())
        taps = np.stack([np.convolve(one, tap) for one, tap in zip(silence.taps, taps, strict=True)])
        return _at_rate(taps, silence.lead, measured.sample_rate, sample_rate)
    return _at_rate(taps, 0, measured.sample_rate, sample_rate)


def _at_rate(taps: np.ndarray, lead: int, from_rate: int, to_rate: int) -> Responses:
    """Resample; zeros before and after make room for what resampling spreads, in whole samples of both rates before."""
    if from_rate == to_rate:
        return Responses(taps, lead)
    step = from_rate // np.gcd(from_rate, to_rate)
    margin = -(-(HALF_WIDTH * from_rate // to_rate + lead) // step) * step  # from the first tap's place to a sample of both rates
    padded = np.pad(taps, ((0, 0), (margin - lead, HALF_WIDTH * from_rate // to_rate)))
    changed = resample(padded.astype(np.float32), from_rate, to_rate)
    return Responses(changed.astype(np.float64) * (from_rate / to_rate), int(margin * to_rate // from_rate))


@lru_cache(maxsize=4)
def recalled_sofa(path: str, sha256: str) -> Measured:
    """Read a file once a process; the hash makes a changed file a new entry."""
    return read_sofa(Path(path))
