"""Stamps of the files of many clips: one table's worth of looks at a file system, ahead of whoever asks."""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

from pyarrow.fs import FileInfo, FileType, LocalFileSystem

from audiodata.clip_files import file_stamp

LOOKS_AT_ONCE = 16  # a shared file system takes its time for one look, and hardly more for many at once
LEAST_FILES, PARTS_AHEAD = 100, 2  # fewer at a time are not worth a thread's turn
Part = TypeVar("Part")


class ClipFiles(NamedTuple):
    """The files of some clips: `ClipSpan.paths`, in columns.

    Attributes
    ----------
    first : sequence of str
        Of each clip.
    more : mapping of int to tuple of str
        The further ones of clips that have any, by the clip's number.
    """

    first: Sequence[str]
    more: Mapping[int, tuple[str, ...]]


class _Looks(NamedTuple):
    """Looks at the files of some clips, which may not have ended yet."""

    files: ClipFiles
    paths: Sequence[str]
    looks: Sequence[Future[list[str]]]

    def stamps(self) -> list[str]:
        of_paths = list(itertools.chain.from_iterable(look.result() for look in self.looks))
        if self.paths is self.files.first:
            return of_paths
        found = dict(zip(self.paths, of_paths, strict=True))
        stamps = [found[path] for path in self.files.first]
        for number, paths in self.files.more.items():
            stamps[number] = "+".join([stamps[number], *(found[path] for path in paths)])
        return stamps


class FileStamps:
    """Stamps of the files of many clips, looked up by a few threads ahead of whoever asks; a context manager.

    Parameters
    ----------
    root : path
        The data root.
    """

    def __init__(self, root: Path):
        self._root = str(root)
        self._pool = ThreadPoolExecutor(LOOKS_AT_ONCE, "look at files")

    def __enter__(self) -> "FileStamps":
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def of_each(self, parts: Iterable[Part], files: Callable[[Part], ClipFiles]) -> Iterator[tuple[Part, list[str]]]:
        """Take parts of a table with the stamps of their files, which are being looked up for the next parts meanwhile.

        Parameters
        ----------
        parts : iterable
        files : callable
            Returns the files of the clips of a part.

        Yields
        ------
        part
        list of str
            `clip_stamp` of each of its clips.
        """
        begun: deque[tuple[Part, _Looks]] = deque()
        for part in parts:
            begun.append((part, self._begin(files(part))))
            if len(begun) > PARTS_AHEAD:
                first, looks = begun.popleft()
                yield first, looks.stamps()
        yield from ((part, looks.stamps()) for part, looks in begun)

    def _begin(self, files: ClipFiles) -> _Looks:
        different = dict.fromkeys(itertools.chain(files.first, *files.more.values()))  # many clips may lie in one recording
        paths = files.first if len(different) == len(files.first) and not files.more else list(different)
        share = max(len(paths) // LOOKS_AT_ONCE, LEAST_FILES)
        return _Looks(files, paths, [self._pool.submit(self._look, paths[at : at + share]) for at in range(0, len(paths), share)])

    def _look(self, paths: Sequence[str]) -> list[str]:
        """Stamps of files; Arrow looks at many without keeping other threads of this process from their work."""
        whole = [f"{self._root}/{path}" for path in paths]
        try:
            looks = LocalFileSystem().get_file_info(whole)
        except (OSError, ValueError):  # a folder that must not be entered, or a name that Arrow does not take for one
            return [file_stamp(path) for path in whole]
        return [_stamp_of(look, path) for look, path in zip(looks, whole, strict=True)]


def _stamp_of(look: FileInfo, path: str) -> str:
    size = look.size
    if size is not None:
        return f"{size}-{look.mtime_ns}"
    return "" if look.type is FileType.NotFound else file_stamp(path)
