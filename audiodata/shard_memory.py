"""What a build remembers of the shards that it has made or checked, so that one is decoded again only when its file has changed."""

import json
from pathlib import Path

from audiodata.clip_files import file_stamp
from audiodata.ledger import Ledger
from audiodata.shards import ShardRecord

PREFIX = "shard "


class ShardMemory:
    """The shards of one cache, noted in a ledger with size and modification time of their files.

    Parameters
    ----------
    ledger : Ledger
        Open for writing.
    folder : path
        The cache.
    """

    def __init__(self, ledger: Ledger, folder: Path):
        self._ledger, self._folder = ledger, Path(folder)
        self._noted = ledger.notes()

    def recall(self, file: str, fingerprint: str) -> ShardRecord | None:
        """Return the record of a shard that has this fingerprint and has not been touched since it was noted."""
        text = self._noted.get(PREFIX + file)
        if text is None:
            return None
        noted = json.loads(text)
        stamp = file_stamp(self._folder / file)
        is_same = stamp and noted["stamp"] == stamp and noted["record"]["fingerprint"] == fingerprint
        return ShardRecord(**noted["record"]) if is_same else None

    def remember(self, record: ShardRecord) -> None:
        """Note a shard that has just been made or checked."""
        text = json.dumps({"stamp": file_stamp(self._folder / record.file), "record": record._asdict()}, sort_keys=True)
        if self._noted.get(PREFIX + record.file) != text:
            self._ledger.note(PREFIX + record.file, text)
            self._noted[PREFIX + record.file] = text
