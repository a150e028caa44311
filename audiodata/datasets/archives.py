"""Unpack a publisher's zip archives where the folder that they hold is missing; also archives that are split over several files.

Files are taken out flat, by their names alone, so that no path inside an archive decides where anything is written; they come to lie in a
new folder that gets its name when it is whole.
"""

import contextlib
import logging
import shutil
import stat
import subprocess
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from audiodata.clip_files import is_safe_path
from audiodata.errors import EnvironmentFault, MetadataError

log = logging.getLogger(__name__)

SEVEN_ZIP = ("7z", "7zz", "7za")


def unpack_missing(folder: Path, extensions: Sequence[str]) -> bool:
    """Make a folder from the archive beside it, if the folder is not there and the archive is.

    Parameters
    ----------
    folder : Path
        The archive is ``<folder>.zip``; with ``<folder>.z01``, ``.z02``, ... beside it, it is split.
    extensions : sequence of str
        Files to take out, e.g. ``(".wav",)``; all others are left.

    Returns
    -------
    bool
        Whether the folder was made.

    Raises
    ------
    MetadataError
        The archive is damaged or not whole, two of its files have one name, or it has none of the files.
    EnvironmentFault
        It is split and no program is there that reads such archives; or the disk is full.
    """
    archive = folder.with_name(f"{folder.name}.zip")
    if folder.exists() or not archive.is_file():
        return False
    log.info("unpacking %s", archive)
    with _new_folder(folder) as made:
        take = _take_split if split_parts(archive) else _take_whole
        _refuse_nothing(archive, take(archive, made, tuple(extensions)), extensions)
    return True


def split_parts(archive: Path) -> list[Path]:
    """Return the parts of a split archive without its last one, which bears the name ``.zip``; none where it is whole."""
    return sorted(archive.parent.glob(f"{archive.stem}.z[0-9][0-9]"))


def _refuse_nothing(archive: Path, count: int, extensions: Sequence[str]) -> None:
    if not count:
        raise MetadataError(f"{archive}: holds no {' or '.join(extensions)} files; is it the right archive?")
    log.info("%d files from %s", count, archive)


@contextlib.contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """Give a folder to fill, which gets its name at the end unless something went wrong."""
    try:
        made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise EnvironmentFault(f"{folder.parent}: can't be written to ({error.strerror}), so {folder.name}.zip can't be unpacked there") from None
    try:
        yield made
        made.chmod(0o755)
        if not folder.exists():  # another run may have been faster
            made.rename(folder)
    except OSError as error:
        raise EnvironmentFault(f"{folder}: can't be unpacked ({error.strerror}); is there room on the disk?") from None
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _take_whole(archive: Path, into: Path, extensions: tuple[str, ...], whole: Path | None = None) -> int:
    """Take the files out of an archive in one piece: the archive itself, or what its parts were joined to."""
    try:
        with zipfile.ZipFile(whole or archive) as opened:
            members = [(info.filename, info) for info in opened.infolist() if _is_file(info)]
            return _place(archive, into, extensions, members, lambda info: opened.open(info))
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, zlib.error) as error:
        raise MetadataError(f"{archive}: damaged, encrypted or without its first parts (.z01, ...) ({error}); download what is missing") from None


def _is_file(info: zipfile.ZipInfo) -> bool:
    return not info.is_dir() and not stat.S_ISLNK(info.external_attr >> 16)


def _take_split(archive: Path, into: Path, extensions: tuple[str, ...]) -> int:
    """Let a program read the archive, into a folder of its own, and take the files from there."""
    with tempfile.TemporaryDirectory(prefix=".unpacked.", dir=into.parent) as scratch:
        if not _joined(archive, Path(scratch)):
            raise EnvironmentFault(
                f"{archive}: is split ({', '.join(part.name for part in split_parts(archive))}), which needs `zip` or `7z`; install one of "
                f"them, or unpack it elsewhere: zip -s 0 {archive.name} --out whole.zip && unzip whole.zip"
            )
        whole = Path(scratch) / "whole.zip"
        if whole.is_file():
            return _take_whole(archive, into, extensions, whole)
        found = [path for path in sorted(Path(scratch).rglob("*")) if path.is_file() and not path.is_symlink()]
        return _place(archive, into, extensions, [(path.relative_to(scratch).as_posix(), path) for path in found], lambda path: path.open("rb"))


def _joined(archive: Path, scratch: Path) -> bool:
    """Join a split archive to ``whole.zip``, or unpack it, with what program there is; False where there is none."""
    seven_zip = next(filter(None, map(shutil.which, SEVEN_ZIP)), None)
    if shutil.which("zip"):
        _run(archive, ["zip", "-q", "-s", "0", str(archive.absolute()), "--out", str(scratch / "whole.zip")])
    elif seven_zip:
        _run(archive, [seven_zip, "x", "-y", "-bd", f"-o{scratch}", str(archive.absolute())])
    else:
        return False
    return True


def _run(archive: Path, command: Sequence[str]) -> None:
    """Run a program; where `zip` misses a part, it asks for another place until it reads a q."""
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", input="q\nq\n", check=False)
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())[-200:]
        raise MetadataError(f"{archive}: {Path(command[0]).name} can't read it ({said}); are all its parts there and complete?")


def _place(archive: Path, into: Path, extensions: tuple[str, ...], members: Sequence[tuple[str, object]], opened: Callable) -> int:
    """Write the members of some kinds into a folder, each under the last part of its path."""
    seen: dict[str, str] = {}
    for path, member in members:
        name = PurePosixPath(path.replace("\\", "/")).name
        if not name.lower().endswith(extensions) or name.startswith("."):
            continue
        if not is_safe_path(name) or seen.setdefault(name, path) != path:
            raise MetadataError(f"{archive}: can't place {path!r}: its name is not fit for a file, or {seen.get(name)!r} has it too")
        with opened(member) as source, (into / name).open("xb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
    return len(seen)
