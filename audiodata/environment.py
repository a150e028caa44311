"""What of a machine's Python shapes a cache's bytes: its packages, the libraries inside them, and this package's own code.

Imports nothing but the standard library at the top, so that a worker that lacks a package can still say so.
"""

import hashlib
import importlib.metadata
import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

import audiodata

STORAGE = ("h5py", "hdf5plugin", "pyarrow", "soundfile", "soxr")
PROTOCOL = ("distributed",)  # driver and worker speak its language, which changes from version to version
MISSING = "not installed"
CODE = "audiodata's code"


def describe(packages: Iterable[str]) -> dict[str, str]:
    """Describe this process: versions of Python, of this package and its code, of packages and of the libraries inside them.

    Parameters
    ----------
    packages : iterable of str
        Distributions that are needed beside those of storage.

    Returns
    -------
    dict of str to str
        Name to version; `MISSING` for a package that isn't there.
    """
    found = {"python": f"{sys.version_info.major}.{sys.version_info.minor}", "audiodata": audiodata.__version__, CODE: code_hash()}
    found |= {name: _version(name) for name in sorted({*packages, *STORAGE, *PROTOCOL})}
    return found | {"HDF5": _hdf5(), "libsndfile": _libsndfile()}


def differences(ours: Mapping[str, str], theirs: Mapping[str, str]) -> list[str]:
    """Say what differs, one text an entry, what is missing first.

    Examples
    --------
    >>> differences({"numpy": "2.1.0", "soxr": "1.0"}, {"numpy": "2.0.0", "soxr": "1.0"})
    ['numpy is 2.0.0 there, 2.1.0 here']
    """
    wrong = [name for name in ours if theirs.get(name, MISSING) != ours[name]]
    wrong.sort(key=lambda name: theirs.get(name, MISSING) != MISSING)
    return [f"{name} is {theirs.get(name, MISSING)} there, {ours[name]} here" for name in wrong]


@lru_cache(maxsize=1)
def code_hash() -> str:
    """Hash of this package's source files: two that say the same version may still differ while one of them is being worked on."""
    folder = Path(audiodata.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py"), key=lambda path: path.relative_to(folder).as_posix()):
        content = path.read_bytes().replace(b"\r\n", b"\n")
        digest.update(f"{path.relative_to(folder).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:12]


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return MISSING


def _hdf5() -> str:
    try:
        import h5py
        import hdf5plugin
    except ImportError as error:
        return f"unusable ({error})"
    filter_there = h5py.h5z.filter_avail(hdf5plugin.Bitshuffle.filter_id)
    return h5py.version.hdf5_version + ("" if filter_there else " without the bitshuffle filter")


def _libsndfile() -> str:
    try:
        import soundfile
    except (ImportError, OSError) as error:  # OSError: the package without its library
        return f"unusable ({error})"
    return soundfile.__libsndfile_version__
