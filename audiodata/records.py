"""The small records that travel between the driver and its workers: where things lie and what was found, never arrays."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple, Optional


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
    channels : tuple of int
        Channels to take, counted from 0 over all files, in this order; empty = all.
    more_paths : tuple of str
        Files that hold the clip's further channels.
    item : str
        Item inside the file, for files that hold many by name.
    reader : str
        JSON of how a recording of events is read or made, or utterances are mixed; empty = sound or image as it is.
    partner : ClipSpan or None
        The recording of another sense that is paired with this one.
    """

    clip_id: str
    path: str
    start_s: float = 0.0
    duration_s: float | None = None
    index: int = 0
    channels: tuple[int, ...] = ()
    more_paths: tuple[str, ...] = ()
    item: str = ""
    reader: str = ""
    partner: Optional["ClipSpan"] = None

    @property
    def paths(self) -> tuple[str, ...]:
        """All files that the clip is made from."""
        return (self.path, *self.more_paths, *(self.partner.paths if self.partner else ()))

    @property
    def recordings(self) -> tuple["ClipSpan", ...]:
        """The clip itself, and its partner where it has one."""
        return (self, self.partner) if self.partner else (self,)


PARTNER_FIELDS = ("clip_id", "path", "start_s", "duration_s", "index", "item", "reader")


def partner_text(clip: ClipSpan) -> str:
    """Write down where a partner lies, for the column ``partner`` of a clips table.

    Examples
    --------
    >>> read_partner(partner_text(ClipSpan("a", "b.npz"))) == ClipSpan("a", "b.npz")
    True
    """
    return json.dumps({name: getattr(clip, name) for name in PARTNER_FIELDS}, sort_keys=True)


def read_partner(text: str) -> ClipSpan:
    """Read what `partner_text` wrote."""
    return ClipSpan(**json.loads(text))


class Truth(NamedTuple):
    """What is true of a clip, and of all examples cut from it.

    Attributes
    ----------
    label_index : int
        Class index, -1 = none.
    azimuth_deg : float or None
        Where the sound comes from, [0, 360); None = not known.
    """

    label_index: int
    azimuth_deg: float | None = None


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
        As decoded (an image has rate 0 and one sample; events have the rate of microseconds, and each sense is a channel).
    shape : tuple of int
        ``(row, column)`` of an image; of events the sensors' sizes one after the other (`audiodata.events.spans.sensors_of`).
    measured : dict
        Measurements of `audiodata.cleaning`, by name with unit; of events their number by sense.
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
    truth : Truth
    """

    example_id: str
    clip: ClipSpan
    sha256: str
    start_sample: int
    valid: int
    truth: Truth


class ClipRow(NamedTuple):
    """One row of the ledger, as a worker reports it and as the ledger returns it.

    Attributes
    ----------
    clip_id : str
    status, reason : str
        Keys of `audiodata.reasons.STATUSES` and `REASONS`.
    detail : str
        The original message, or where the clip came from.
    path : str
        POSIX path of the file below the data root; empty where there is none.
    sha256, content_sha256 : str
        Of the file's bytes and of the decoded samples.
    measured : dict
        What was measured, by name with unit.
    attempts : int
        In a report: how many attempts this row stands for. In the ledger: their sum.
    updated : str
        UTC time of the last change, set by the ledger; empty until there is one.
    """

    clip_id: str
    status: str
    reason: str = ""
    detail: str = ""
    path: str = ""
    sha256: str = ""
    content_sha256: str = ""
    measured: Mapping[str, Any] = {}
    attempts: int = 1
    updated: str = ""
