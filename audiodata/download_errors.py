"""From what yt-dlp and ffmpeg say to one reason of the closed list.

Platforms explain themselves in prose, so the tables below are ordered: the first pattern that fits decides. Account
problems come last because yt-dlp adds its hint to sign in to many messages that have another cause.
"""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Pattern(NamedTuple):
    """A reason, and the texts (lower case, straight apostrophes) any of which names it."""

    reason: str
    texts: tuple[str, ...]


_FIRST = (
    Pattern("rate_limited", ("content isn't available, try again later", "rate-limited", "http error 429",
                             "http error 402")),
    Pattern("bot_check", ("confirm you're not a bot", "captcha challenge", "all player responses are invalid",
                          "unusual traffic")),
    Pattern("age_gated", ("confirm your age", "age-restricted", "inappropriate for some users")),
    Pattern("private", ("private video", "video is private")),
    Pattern("account_terminated", ("account associated with this video has been terminated",)),
    Pattern("removed", ("has been removed", "no longer available", "isn't available anymore")),
    Pattern("copyright_geo", ("blocked it in your country", "copyright grounds")),
    Pattern("geo_blocked", ("not made this video available in your country", "not available in your country",
                            "geo restriction")),
    Pattern("members_or_paid", ("members-only", "members only", "join this channel", "requires payment", "premium")),
    Pattern("live_or_upcoming", ("live event will begin", "premieres in", "premiere will begin", "not currently live")),
    Pattern("drm", ("drm protected",)),
    Pattern("bad_id", ("looks truncated", "incomplete youtube id", "unsupported url", "no suitable extractor")),
    Pattern("login_other", ("sign in", "login required", "http error 401")),
    Pattern("unavailable", ("video unavailable", "video is unavailable", "video is not available")),
    Pattern("no_format", ("requested format is not available", "no video formats found")),
    Pattern("forbidden", ("http error 403",)),
    Pattern("not_found", ("http error 404", "http error 410")),
    Pattern("network", ("http error 5",)),
)
_BY_CLASS = {
    "GeoRestrictedError": "geo_blocked",
    "UserNotLive": "live_or_upcoming",
    "UnsupportedError": "bad_id",
    "TransportError": "network",
    "ContentTooShortError": "network",
    "TimeoutError": "network",
    "ConnectionError": "network",
}
# Reasons that a text gives more exactly than a class can: a blocked video may also be "geo restricted".
_NAMED_BY_TEXT = ("rate_limited", "bot_check", "copyright_geo")
_PREFIX = re.compile(r"^(?:\x1b\[[0-9;]*m)*ERROR:(?:\x1b\[[0-9;]*m)*\s*")

_COMPONENT = re.compile(r"^(\[[^\]]* @ 0x[0-9a-f]+\] ?)+")  # memory addresses: another text on every run
_QUERY = re.compile(r"(https?://[^\s?'\"]+/videoplayback)\?[^\s'\"]*")  # a media address names the one who asked
_HTTP_STATUS = re.compile(r"(?:HTTP error|Server returned) (\d{3}|[45]XX)", re.IGNORECASE)
_BY_STATUS = {"402": "rate_limited", "403": "forbidden", "404": "not_found", "410": "not_found", "416": "empty",
              "429": "rate_limited"}
_MEDIA = (
    Pattern("network", ("stream ends prematurely", "connection reset", "connection refused", "timed out",
                        "failed to resolve", "network is unreachable", "no route to host", "broken pipe",
                        "error in the pull function")),
    Pattern("undecodable", ("invalid data found when processing input", "matches no streams",
                            "does not contain any stream", "moov atom not found", "not on whitelist")),
    Pattern("network", ("input/output error", "i/o error", "end of file")),
)


def classify(error: BaseException, warnings: Iterable[str] = ()) -> tuple[str, str]:
    """Return the reason and the original message of an exception that yt-dlp raised.

    Parameters
    ----------
    error : exception
        As it left ``YoutubeDL.extract_info``; usually a ``DownloadError`` that holds the useful one inside.
    warnings : iterable of str
        What yt-dlp warned of on the way; becomes part of the message where no format was offered, as the cause is
        there.

    Returns
    -------
    tuple of (str, str)
        A key of `audiodata.reasons.REASONS`, and the message.
    """
    chain = list(_chain(error))
    message = _one_line(_PREFIX.sub("", str(error)) or type(error).__name__)
    reason = _reason(chain, message)
    if reason == "no_format":
        message = _one_line("; ".join([message, *warnings]))
    return reason, message


def _reason(chain: list[BaseException], message: str) -> str:
    text = _plain(" ".join([message, *(f"http error {status}" for status in _statuses(chain))]))
    by_text = next((pattern.reason for pattern in _FIRST if any(part in text for part in pattern.texts)), "")
    names = {base.__name__ for one in chain for base in type(one).__mro__}
    by_class = next((reason for name, reason in _BY_CLASS.items() if name in names), "")
    if by_class and by_text not in _NAMED_BY_TEXT and (by_class != "network" or not by_text):
        return by_class
    if by_text:
        return by_text
    expected = next((one.expected for one in chain if hasattr(one, "expected")), False)
    return "unavailable" if expected else "extractor_broken"


def classify_media(stderr: str) -> tuple[str, str]:
    """Return the reason and the decisive line of what ffmpeg wrote on reading an address; empty texts if none.

    A status decides first, then the table in its order, whatever the order of the lines: a connection that breaks
    inside the header also makes invalid data.
    """
    lines = [_COMPONENT.sub("", line).strip() for line in stderr.splitlines()]
    for line in lines:
        if status := _HTTP_STATUS.search(line):
            code = status[1].upper()
            return _BY_STATUS.get(code, "network" if code.startswith("5") else "unavailable"), _one_line(line)
    for pattern in _MEDIA:
        for line in lines:
            if any(text in line.lower() for text in pattern.texts):
                return pattern.reason, _one_line(line)
    return "", ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Walk through an exception and all that it holds: causes (Python's and yt-dlp's), context, the saved original."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        one = waiting.pop(0)
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        saved = getattr(one, "exc_info", None) or (None, None, None)
        waiting += [one.__cause__, one.__context__, getattr(one, "cause", None), saved[1]]


def _statuses(chain: list[BaseException]) -> list[int]:
    found = (getattr(one, "status", None) for one in chain)
    return [status for status in found if isinstance(status, int)]


def _plain(text: str) -> str:
    return text.lower().replace("\u2019", "'").replace("\u2018", "'")


def _one_line(text: str) -> str:
    text = _QUERY.sub(r"\1?...", re.sub(r"\x1b\[[0-9;]*m", "", text))
    words = text.split()
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(words))[:500]
