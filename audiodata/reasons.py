"""The closed lists of the ledger: what can become of a clip (status) and why (reason)."""

from typing import Literal, NamedTuple

Kind = Literal["fine", "choice", "transient", "permanent", "identity", "environment"]

STATUSES = {
    "ok": "in the cache (or, after a download, a verified file)",
    "pending": "not tried yet, or to be tried again",
    "not_selected": "left out by the catalog's choice",
    "rejected": "decoded, but turned down by the cleaning thresholds",
    "failed": "could not be fetched, found or decoded",
}


class Reason(NamedTuple):
    """One entry of the closed list.

    Attributes
    ----------
    kind : str
        ``fine``; ``choice`` (the catalog's own); ``transient`` (worth another try); ``permanent``; ``identity`` (the network identity
        is being refused, not the clip); ``environment`` (this machine's set-up, not the clip).
    meaning : str
        One line for people.
    """

    kind: Kind
    meaning: str


REASONS = {
    "": Reason("fine", "nothing to report"),
    # chosen by the catalog
    "other_class": Reason("choice", "none of its labels is under a chosen class"),
    "several_classes": Reason("choice", "its labels reach more than one of the chosen classes"),
    "low_quality": Reason("choice", "the label quality of its class is under the threshold"),
    "overlapping": Reason("choice", "another event of its recording sounds at the same time"),
    "empty_event": Reason("choice", "its annotation gives it no length"),
    "over_per_class": Reason("choice", "its class already has the number of clips asked for"),
    "over_limit": Reason("choice", "beyond the limit asked for on the command line"),
    # the video, at its platform
    "rate_limited": Reason("identity", "the platform limits this address; pause for about an hour"),
    "bot_check": Reason("identity", "the platform asks whether this is a robot; needs a person"),
    "age_gated": Reason("permanent", "needs an account of full age"),
    "private": Reason("permanent", "the video is private"),
    "account_terminated": Reason("permanent", "the uploader's account was terminated"),
    "removed": Reason("permanent", "the video was removed"),
    "copyright_geo": Reason("permanent", "blocked on copyright grounds, perhaps only in this country"),
    "geo_blocked": Reason("permanent", "not available in this country"),
    "members_or_paid": Reason("permanent", "for members or paying viewers only"),
    "live_or_upcoming": Reason("transient", "a live or future broadcast"),
    "drm": Reason("permanent", "protected by DRM"),
    "bad_id": Reason("permanent", "not a video identifier that the platform knows"),
    "login_other": Reason("permanent", "needs an account for another reason"),
    "unavailable": Reason("permanent", "the platform says unavailable and no more"),
    "no_format": Reason("environment", "no audio format offered; is a JavaScript runtime installed?"),
    "forbidden": Reason("transient", "HTTP 403 on the media address, also after resolving it again"),
    "not_found": Reason("permanent", "HTTP 404 or 410"),
    "network": Reason("transient", "connection, time-out or server error"),
    "extractor_broken": Reason("environment", "yt-dlp does not understand the platform's answer; upgrade it"),
    "past_end": Reason("permanent", "the span begins after the recording's end"),
    # the file
    "not_downloaded": Reason("transient", "no file yet; run the download"),
    "missing_file": Reason("permanent", "the file is not there"),
    "unreadable": Reason("transient", "the file is there but can't be read"),
    "undecodable": Reason("permanent", "not a sound file, or damaged"),
    "truncated": Reason("permanent", "the file ends before its header says"),
    "empty": Reason("permanent", "decodes to no samples"),
    "too_short": Reason("permanent", "shorter than asked for"),
    "too_long": Reason("permanent", "longer than asked for"),
    "wrong_channels": Reason("permanent", "not the number of channels asked for"),
    "channels_differ": Reason("permanent", "the files of its channels differ in length or sample rate"),
    "wrong_rate": Reason("permanent", "not the sample rate asked for"),
    # the sound
    "not_finite": Reason("permanent", "has NaN or infinite samples"),
    "silent": Reason("permanent", "level under the threshold"),
    "clipped": Reason("permanent", "too many samples at full scale"),
    "dc_offset": Reason("permanent", "mean too far from zero"),
    "narrow_band": Reason("permanent", "next to nothing above a low frequency: upsampled or muffled"),
    "duplicate": Reason("permanent", "decodes to the same samples as another clip"),
}
