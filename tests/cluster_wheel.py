"""The library as others install it: its wheel, and a virtual environment that has nothing else of this checkout."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def build_wheel(folder):
    """Build the wheel from a copy of the sources, or skip where that can't be done."""
    source = folder / "source"
    shutil.copytree(ROOT / "audiodata", source / "audiodata", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    words = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-q", "-w", str(folder), str(source)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no wheel can be built here: {done.stderr.strip().splitlines()[-1:]}")
    return next(folder.glob("audiodata-*.whl"))


def unpack(wheel, folder):
    """Unpack a wheel, which is all that installing it takes: it is pure Python and has the one package."""
    with zipfile.ZipFile(wheel) as archive:
        packages = {name.split("/")[0] for name in archive.namelist()}
        archive.extractall(folder)
    assert {name for name in packages if not name.endswith(".dist-info")} == {"audiodata"}
    return folder


def make_environment(folder, wheel):
    """Make a virtual environment of the wheel, which uses the packages of this interpreter but not what is installed there in place.

    Packages that are installed in place are found through ``.pth`` files, which count in an environment's own folder alone; and that
    folder comes first, so that the wheel's package is found before any other of its name.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    packages = next((folder / "lib").glob("python*/site-packages"))
    unpack(wheel, packages)
    theirs = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (packages / "packages.pth").write_text("".join(f"{path}\n" for path in theirs))
    return folder / "bin" / "python", packages
