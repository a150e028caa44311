"""What this machine has and lacks of packages and programs, each with what it is for and how to get it."""

import importlib.metadata
import shutil
from collections.abc import Callable, Iterator
from datetime import date

from audiodata.doctor.finding import Finding
from audiodata.errors import EnvironmentFault

OLD_AFTER_DAYS = 90


def examine_packages() -> list[Finding]:
    """Look at every package and program that a part of the project needs."""
    return [finding for check in (_core, _ffmpeg, _optional, _cluster, _youtube) for finding in check()]


def _core() -> Iterator[Finding]:
    for package in ("numpy", "scipy", "numba", "h5py", "soundfile", "soxr", "librosa", "pandas", "pyarrow"):
        yield _package(package, "pip install audiodata", "problem")
    yield _try("HDF5 filter bitshuffle-LZ4", _filter_works)


def _filter_works() -> str:
    import h5py
    import hdf5plugin

    if not h5py.h5z.filter_avail(hdf5plugin.Bitshuffle.filter_id):
        raise EnvironmentFault("not found by HDF5; install both again: pip install -U --force-reinstall h5py hdf5plugin")
    return f"HDF5 {h5py.version.hdf5_version}"


def _ffmpeg() -> Iterator[Finding]:
    from audiodata.audio import ffmpeg_version, find_ffmpeg

    yield _try("ffmpeg", lambda: f"{ffmpeg_version()} at {find_ffmpeg()}")


def _optional() -> Iterator[Finding]:
    yield _package("torch", "pip install 'audiodata[train]' (networks)")
    yield _package("lightning", "pip install 'audiodata[train]' (training)")
    yield _package("pyroomacoustics", "pip install 'audiodata[simulate]' (simulated rooms)")
    yield _package("mkl_fft", "pip install 'audiodata[fast]' (faster FFT, [compute] fft = \"mkl\")")


def _cluster() -> Iterator[Finding]:
    for package in ("dask", "distributed"):
        yield _package(package, "pip install 'audiodata[dask]' (builds on several processes or machines)")
    yield _package("dask-jobqueue", "pip install 'audiodata[cluster]' (--slurm)")
    found = shutil.which("sbatch")
    yield Finding("sbatch", "ok", found) if found else Finding("sbatch", "missing", "no Slurm here (--slurm runs where jobs are submitted)")


def _youtube() -> Iterator[Finding]:
    how = "pip install 'audiodata[youtube]' (downloads)"
    yield _package("yt-dlp", how)
    yield _package("yt-dlp-ejs", how)
    if _version("yt-dlp"):
        yield _age(_version("yt-dlp"), date.today())
        yield _runtime()


def _age(version: str, today: date) -> Finding:
    """yt-dlp's version is its date; platforms change every few weeks."""
    year, month, day = (int(part) for part in version.split(".")[:3])
    days = (today - date(year, month, day)).days
    if days > OLD_AFTER_DAYS:
        return Finding("yt-dlp's age", "problem", f"{days} days; platforms change, so upgrade: pip install -U yt-dlp yt-dlp-ejs")
    return Finding("yt-dlp's age", "ok", f"{days} days")


def _runtime() -> Finding:
    for name in ("deno", "node", "bun", "qjs"):
        if path := shutil.which(name):
            return Finding("JavaScript runtime", "ok", path)
    return Finding("JavaScript runtime", "missing", "YouTube offers few formats without one: pip install 'audiodata[youtube]' brings deno")


def _package(name: str, how: str, absent: str = "missing") -> Finding:
    version = _version(name)
    return Finding(name, "ok", version) if version else Finding(name, absent, how)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _try(subject: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(subject, "ok", check())
    except (EnvironmentFault, ImportError) as error:
        return Finding(subject, "problem", str(error))
