"""The errors that a user can cause or meet; each message is one line: what, where, expected and got, what to do.

A bug raises anything else and shows its traceback.
"""


class AudioDataError(Exception):
    """Bad input or a bad environment, explained in one line; the commands print it and exit with 2."""


class CatalogError(AudioDataError):
    """A catalog that can't be read: unknown key, missing value, wrong type."""


class MetadataError(AudioDataError):
    """A list, table or ontology that can't be read; names the file and the row."""


class FeatureError(AudioDataError):
    """Settings, a waveform or an image that a feature can't be computed from."""


class CacheError(AudioDataError):
    """A cache, shard or ledger that is missing, damaged or of another format."""


class LeakageError(AudioDataError):
    """A split that puts one group on two sides."""


class EnvironmentFault(AudioDataError):
    """A missing package, program or resource (disk, network identity) that concerns the whole run, not one clip."""


class ScratchFault(EnvironmentFault):
    """A worker's own disk that is full or can't be written to; another worker can do the work."""


class ClipError(AudioDataError):
    """One clip that can't be used; becomes a row of the ledger.

    Parameters
    ----------
    reason : str
        A key of `audiodata.reasons.REASONS`.
    message : str
        What was expected and what was found.
    """

    def __init__(self, reason: str, message: str):
        super().__init__(reason, message)
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"
