"""Files that may be packed with gzip."""

import gzip
from pathlib import Path

from audiodata.errors import MetadataError

_GZIP_MAGIC = b"\x1f\x8b"


def read_bytes(path: Path) -> bytes:
    """Read a file whole, unpacked if it is gzip.

    Raises
    ------
    MetadataError
        The file is missing, not readable, or a damaged gzip.
    """
    try:
        data = Path(path).read_bytes()
        return gzip.decompress(data) if data.startswith(_GZIP_MAGIC) else data
    except (EOFError, gzip.BadGzipFile, gzip.zlib.error) as error:
        raise MetadataError(f"{path}: a damaged or truncated gzip file ({error}); fetch it again") from None
    except OSError as error:
        raise MetadataError(f"{path}: can't be read ({error.strerror}); check the path and its permissions") from None
