"""The small records that travel between the driver and its workers: where things lie and what was found, never arrays."""

from typing import Any, NamedTuple


class ClipSpan(NamedTuple):
    """Where one clip lies.

    Attributes
    ----------
    clip_id : str
    path : str
        POSIX path below the data root.
    start_s : float
        Start of the clip inside the file.
    duration_s : float or None
        Expected duration; None = to the end of the file.
    index : int
        Item inside the file, for files that hold many (idx images).
    """

    clip_id: str
    path: str
    start_s: float = 0.0
    duration_s: float | None = None
    index: int = 0


class Inspection(NamedTuple):
    """What a worker found in one clip; `reason` is empty where it can be read.

    Attributes
    ----------
    clip_id : str
    reason, detail : str
        A key of `audiodata.reasons.REASONS` and the message.
    stamp : str
        Size and modification time of the file when it was read: while they stay, the clip need not be inspected again.
    sha256 : str
        Of the bytes that the clip is made from.
    content_sha256 : str
        Of the decoded samples.
    sample_rate, channels, samples : int
        As decoded (an image has rate 0 and one sample).
    shape : tuple of int
        ``(row, column)`` of an image.
    measured : dict
        Measurements of `audiodata.cleaning`, by name with unit.
    """

    clip_id: str
    reason: str = ""
    detail: str = ""
    stamp: str = ""
    sha256: str = ""
    content_sha256: str = ""
    sample_rate: int = 0
    channels: int = 0
    samples: int = 0
    shape: tuple[int, ...] = ()
    measured: dict[str, Any] = {}


class ExampleSpan(NamedTuple):
    """One example of a shard: a segment of a clip.

    Attributes
    ----------
    example_id : str
    clip : ClipSpan
    sha256 : str
        Of the clip's bytes when it was inspected.
    start_sample, valid : int
        Start of the segment inside the clip and the samples that the clip fills, at the build's sample rate.
    label_index : int
        Class index, -1 = none.
    """

    example_id: str
    clip: ClipSpan
    sha256: str
    start_sample: int
    valid: int
    label_index: int
