"""Where AudioSet's metadata lies: found below the data root, or fetched from its publisher with a checksum.

The SHA-256 of five files is known here. The others are checked against the hash that the first fetch noted in
``SHA256SUMS`` beside them (which ``sha256sum -c`` reads), or against the one that the catalog gives.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pooch

from audiodata.errors import EnvironmentFault, MetadataError
from audiodata.fingerprint import hash_file

log = logging.getLogger(__name__)

SUMS = "SHA256SUMS"
TIMEOUT_S = 60

_CORPUS = "https://storage.googleapis.com/us_audioset/youtube_corpus"
_ONTOLOGY = "https://raw.githubusercontent.com/audioset/ontology/d417d32bf59c711abb5910fd2f76a0eb44697991"


class Remote(NamedTuple):
    """A file's address and, where it is known, its SHA-256."""

    url: str
    sha256: str | None = None


FILES = {
    "ontology.json": Remote(
        f"{_ONTOLOGY}/ontology.json", "9c685f4403eecc3ca9be37fd7285cf212feaaea6ff7229d3e7ca89e0d1f2d15d"
    ),
    "balanced_train_segments.csv": Remote(
        f"{_CORPUS}/v1/csv/balanced_train_segments.csv",
        "3b83e5ff9ed72cfda37d4e36ce08250e107c1ea70f109f6ab6668ac200db5e94",
    ),
    "eval_segments.csv": Remote(
        f"{_CORPUS}/v1/csv/eval_segments.csv", "f7055f53935f70e74e39494a5c8c4c78f1700fce275028bd36e31186f33d45db"
    ),
    "unbalanced_train_segments.csv": Remote(f"{_CORPUS}/v1/csv/unbalanced_train_segments.csv"),
    "class_labels_indices.csv": Remote(
        f"{_CORPUS}/v1/csv/class_labels_indices.csv",
        "cdd1049833c4b86127c2773ac0d14a2754b6a6d0d1798002ed5c66e699708429",
    ),
    "qa_true_counts.csv": Remote(f"{_CORPUS}/v1/qa/qa_true_counts.csv"),
    "rerated_video_ids.txt": Remote(f"{_CORPUS}/v1/qa/rerated_video_ids.txt"),
    "audioset_train_strong.tsv": Remote(f"{_CORPUS}/strong/audioset_train_strong.tsv"),
    "audioset_eval_strong.tsv": Remote(f"{_CORPUS}/strong/audioset_eval_strong.tsv"),
    "audioset_eval_strong_framed_posneg.tsv": Remote(f"{_CORPUS}/strong/audioset_eval_strong_framed_posneg.tsv"),
    "mid_to_display_name.tsv": Remote(
        f"{_CORPUS}/strong/mid_to_display_name.tsv", "6aeaa2144223933eab75566ca478366ad80e59f381611e308cbe536913d7ddf7"
    ),
}


def find(name: str, folders: Sequence[Path]) -> Path | None:
    """Path of a metadata file in the first folder that has it."""
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def require(name: str, folders: Sequence[Path]) -> Path:
    """Path of a metadata file that must be there.

    Raises
    ------
    MetadataError
        It is in none of the folders; says where it can be had.
    """
    path = find(name, folders)
    if path is None:
        origin = f" from {FILES[name].url}, or set `fetch = true` in [dataset]" if name in FILES else ""
        raise MetadataError(f"{name}: not in {' or '.join(map(str, folders))}; put it there{origin}")
    return path


def fetch(
    names: Sequence[str], folder: Path, sources: Mapping[str, str], checksums: Mapping[str, str]
) -> list[Path]:
    """Fetch metadata files, each verified before it gets its name.

    Parameters
    ----------
    names : sequence of str
        Keys of `FILES` or of `sources`.
    folder : Path
        Where to; made if it is not there.
    sources : mapping of str to str
        Other addresses, by file name.
    checksums : mapping of str to str
        Other SHA-256 (hex), by file name.

    Raises
    ------
    MetadataError
        No address is known, or what came has another hash than expected.
    EnvironmentFault
        The address can't be reached.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return [_fetch_one(name, folder, sources, checksums) for name in names]


def _fetch_one(name: str, folder: Path, sources: Mapping[str, str], checksums: Mapping[str, str]) -> Path:
    remote = FILES.get(name, Remote(""))
    url = sources.get(name, remote.url)
    if not url:
        raise MetadataError(f"{name}: no address is known; put the file into {folder}, or give one in `sources`")
    noted = _noted(folder)
    expected = checksums.get(name) or remote.sha256 or noted.get(name)
    log.info("fetching %s from %s", name, url)
    pooch.get_logger().setLevel(logging.WARNING)
    try:
        downloader = pooch.HTTPDownloader(timeout=TIMEOUT_S)
        path = Path(pooch.retrieve(url, known_hash=expected, fname=name, path=folder, downloader=downloader))
    except ValueError:
        raise MetadataError(
            f"{name}: what {url} sends has another SHA-256 than the expected {expected}; nothing was kept. If the "
            "publisher has changed the file on purpose, give the new one in `checksums` of [dataset]"
        ) from None
    except OSError as error:
        raise EnvironmentFault(f"{name}: can't be fetched from {url} ({error}); try again, or put it there") from None
    if expected is None:
        _note(folder, noted | {name: hash_file(path)})
    return path


def _noted(folder: Path) -> dict[str, str]:
    path = folder / SUMS
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines) if name}


def _note(folder: Path, sums: Mapping[str, str]) -> None:
    text = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
    temporary = folder / f"{SUMS}.part"
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(folder / SUMS)
