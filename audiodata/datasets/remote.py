"""Large files from their publishers, each verified before it gets its name."""

import logging
from pathlib import Path
from typing import NamedTuple

import pooch

from audiodata.errors import EnvironmentFault, MetadataError

log = logging.getLogger(__name__)

TIMEOUT_S = 60


class RemoteFile(NamedTuple):
    """A file's name, its address and its MD5 as published (hex)."""

    name: str
    url: str
    md5: str


def fetch_file(remote: RemoteFile, folder: Path) -> Path:
    """Fetch a file, unless it is there already, whole.

    Parameters
    ----------
    remote : RemoteFile
    folder : Path
        Where to; made if it is not there.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    MetadataError
        What came has another hash than published; nothing is kept.
    EnvironmentFault
        The address can't be reached, or the file can't be written.
    """
    log.info("fetching %s from %s", remote.name, remote.url)
    pooch.get_logger().setLevel(logging.WARNING)
    try:
        downloader = pooch.HTTPDownloader(timeout=TIMEOUT_S)
        path = pooch.retrieve(remote.url, known_hash=f"md5:{remote.md5}", fname=remote.name, path=folder, downloader=downloader)
    except ValueError:
        raise MetadataError(
            f"{remote.name}: what {remote.url} sends has another MD5 than the published {remote.md5}; nothing was kept, try again"
        ) from None
    except OSError as error:
        raise EnvironmentFault(f"{remote.name}: can't be fetched from {remote.url} ({error}); try again, or put it into {folder}") from None
    return Path(path)
