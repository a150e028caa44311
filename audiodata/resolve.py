"""From a video's id to the address of its sound: yt-dlp, asked once per video and never to download anything itself."""

import functools
import http.cookiejar
import io
import logging
import queue
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from pydantic import Field, field_validator

from audiodata.download_errors import classify
from audiodata.errors import ClipError, EnvironmentFault
from audiodata.settings import Settings

YOUTUBE = "https://www.youtube.com/watch?v={id}"

logger = logging.getLogger(__name__)

_YOUTUBE_HOSTS = ("youtube.com", "youtu.be", "youtube-nocookie.com")
_YOUTUBE_ID = re.compile(r"[0-9A-Za-z_-]{11}")
# Only what ffmpeg can seek in by itself; of those sound alone before sound with pictures.
_FORMAT = "/".join(
    f"{kind}[protocol{protocol}][protocol!*=dash]" for kind in ("ba", "b") for protocol in ("^=http", "^=m3u8")
)
_NOT_COOKIES = "not a cookie file; export the cookies in Netscape format (cookies.txt)"
_LIVE = ("is_live", "is_upcoming", "post_live")


class DownloadOptions(Settings):
    """How videos are asked for and what their clips become.

    ``url_template``: address of a video, with ``{id}``; ``cookies``: a Netscape cookie file, never written to;
    ``proxy``: ``http://host:port``; ``extractor_args``: passed on to yt-dlp; ``timeout_s``: for asking about a video,
    and for each of its clips; ``over_read_s``: read on both sides of a clip; ``tolerance_s``: how much shorter than
    asked for a clip may be; ``sample_rate`` in Hz and ``channels`` of the file (none: as the source).
    """

    url_template: str = YOUTUBE
    cookies: Path | None = None
    proxy: str | None = None
    extractor_args: dict[str, dict[str, list[str]]] = Field(default_factory=dict)
    timeout_s: float = Field(default=60.0, gt=0)
    over_read_s: float = Field(default=0.5, ge=0)
    tolerance_s: float = Field(default=0.1, ge=0)
    sample_rate: int | None = Field(default=None, ge=1000)
    channels: int | None = Field(default=1, ge=1)

    @field_validator("url_template")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        if "{id}" not in value or urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).hostname:
            raise ValueError("must be an http address with {id} where the video's id goes")
        return value

    @field_validator("proxy")
    @classmethod
    def _is_an_http_proxy(cls, value: str | None) -> str | None:
        value = f"http://{value}" if value and "://" not in value else value
        if value and not (urlsplit(value).scheme == "http" and urlsplit(value).hostname):
            raise ValueError("must be http://host:port (ffmpeg speaks to no other kind of proxy)")
        return value

    @field_validator("cookies")
    @classmethod
    def _can_be_read(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_file():
            raise ValueError("no such cookie file")
        return value


class Address(NamedTuple):
    """Where the sound of a recording is.

    Attributes
    ----------
    url : str
        http or https.
    headers : mapping of str to str
        To be sent with each request.
    cookies : tuple of str
        In the form of ``Set-Cookie`` values, with their domain.
    """

    url: str
    headers: Mapping[str, str] = {}
    cookies: tuple[str, ...] = ()


class Source(NamedTuple):
    """A resolved video.

    Attributes
    ----------
    address : Address
        Valid for a few hours and for this machine's network identity only.
    duration_s : float or None
        As the platform states it; often whole seconds.
    described : dict
        Format, codec and yt-dlp's version, for the ledger.
    """

    address: Address
    duration_s: float | None
    described: dict[str, Any]


def video_url(template: str, recording_id: str) -> str:
    """Return the full address of a video.

    Raises
    ------
    ClipError
        ``bad_id``: not an id of the platform; nothing is asked for.
    """
    if is_youtube(template) and not _YOUTUBE_ID.fullmatch(recording_id):
        raise ClipError("bad_id", f"{recording_id!r} is not a YouTube id (11 of 0-9 A-Z a-z _ -)")
    if not recording_id.isprintable() or recording_id.strip(".") == "":
        raise ClipError("bad_id", f"{recording_id!r} can't be part of an address")
    return template.replace("{id}", quote(recording_id, safe=""))


def is_youtube(template: str) -> bool:
    """Whether an address is YouTube's."""
    host = (urlsplit(template).hostname or "").lower()
    return any(host == known or host.endswith(f".{known}") for known in _YOUTUBE_HOSTS)


def resolve(url: str, options: DownloadOptions) -> Source:
    """Ask where the sound of a video is.

    Raises
    ------
    ClipError
        The reason that the platform gives, with its words; ``network`` where it does not answer in time.
    EnvironmentFault
        yt-dlp is not installed, or the cookie file is not one.
    """
    yt_dlp = import_yt_dlp()
    answers: queue.SimpleQueue[Source | BaseException] = queue.SimpleQueue()
    # A thread, as no time-out of yt-dlp covers a whole answer: a page that comes byte by byte would hold us for ever.
    threading.Thread(target=_answer, args=(answers, yt_dlp, url, options), daemon=True).start()
    try:
        answer = answers.get(timeout=options.timeout_s)
    except queue.Empty:
        raise ClipError("network", f"{url}: no answer within {options.timeout_s:g} s") from None
    if isinstance(answer, BaseException):
        raise answer
    return answer


def import_yt_dlp() -> Any:
    """Return the module yt_dlp, which takes a second to import and is needed for nothing else.

    Raises
    ------
    EnvironmentFault
        It is not installed.
    """
    try:
        import yt_dlp
    except ImportError as error:
        raise EnvironmentFault("yt-dlp is not installed; run: pip install 'audiodata[youtube]'") from error
    return yt_dlp


def _answer(answers: queue.SimpleQueue, yt_dlp: Any, url: str, options: DownloadOptions) -> None:
    try:
        words = Words()
        with _cookies(options.cookies) as cookies:
            params = youtube_dl_params(options, words, cookies)
            with yt_dlp.YoutubeDL(params) as downloader:
                source = extract(downloader, url, words)
        answers.put(source)  # only now, when the renewed cookies are kept: whoever asked may ask again at once
    except BaseException as error:  # it is raised again in the thread that asked
        answers.put(error)


def youtube_dl_params(options: DownloadOptions, words: "Words", cookies: io.StringIO | None = None) -> dict[str, Any]:
    """Return the parameters of `yt_dlp.YoutubeDL`.

    Parameters
    ----------
    options : DownloadOptions
        The typed settings; yt-dlp itself accepts a misspelt key in silence.
    words : Words
        Hears what yt-dlp has to say.
    cookies : StringIO, optional
        The text of a cookie file; yt-dlp writes to it.
    """
    params = {
        "format": _FORMAT,
        "allowed_extractors": ["youtube"] if is_youtube(options.url_template) else ["youtube", "generic"],
        "cachedir": False,
        "color": "never",
        "extractor_args": {extractor: dict(values) for extractor, values in options.extractor_args.items()},
        "ignoreerrors": False,
        "logger": words,
        "noplaylist": True,
        "noprogress": True,
        "quiet": True,
        "socket_timeout": min(20.0, options.timeout_s),
        "warn_when_outdated": True,
    }
    optional = {"cookiefile": cookies, "proxy": options.proxy}
    return params | {key: value for key, value in optional.items() if value is not None}


def extract(downloader: Any, url: str, words: "Words") -> Source:
    """Ask a given `yt_dlp.YoutubeDL` for a video's sound.

    Raises
    ------
    ClipError
        As `resolve`.
    """
    try:
        info = downloader.extract_info(url, download=False)
    except Exception as error:  # a bug in one of a thousand extractors can raise anything; `classify` judges it
        raise ClipError(*classify(error, words.warnings)) from error
    return _source(downloader, info or {}, url, words)


def _source(downloader: Any, info: Mapping[str, Any], url: str, words: "Words") -> Source:
    if info.get("_type", "video") != "video":
        raise ClipError("bad_id", f"{url}: a list of videos, not one")
    if info.get("live_status") in _LIVE or info.get("is_live"):
        raise ClipError("live_or_upcoming", f"{url}: {info.get('live_status') or 'is_live'}")
    if not info.get("url"):
        raise ClipError("no_format", "; ".join([f"{url}: no address of sound", *words.warnings]))
    address = Address(info["url"], dict(info.get("http_headers") or {}), _cookies_for(downloader, info["url"]))
    described = {"format": info.get("format_id"), "codec": info.get("acodec"), "extractor": info.get("extractor")}
    described["yt_dlp"] = import_yt_dlp().version.__version__
    duration_s = info.get("duration")
    return Source(address, None if duration_s is None else float(duration_s), described)


def _cookies_for(downloader: Any, url: str) -> tuple[str, ...]:
    """Return cookies for ffmpeg; one of a single host has no domain, as ffmpeg compares that with ``host:port``."""
    found = []
    for cookie in downloader.cookiejar.get_cookies_for_url(url):
        domain = f"; domain={cookie.domain}" if cookie.domain.startswith(".") else ""
        found.append(f"{cookie.name}={cookie.value}; path={cookie.path}{domain}")
    return tuple(found)


class Words:
    """What yt-dlp says, as its ``logger``: kept for messages, and told to our own log quietly."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def debug(self, message: str) -> None:
        """Hear debug and information."""
        logger.debug("yt-dlp: %s", message)

    def warning(self, message: str) -> None:
        """Hear a warning; a missing JavaScript runtime is one."""
        self.warnings.append(message)
        logger.info("yt-dlp: %s", message)

    def error(self, message: str) -> None:
        """Hear an error, which also comes as an exception."""
        logger.debug("yt-dlp: %s", message)


class _Cookies:
    """One process's own copy of a cookie file: platforms renew cookies as one goes, the user's file stays as it is."""

    def __init__(self, path: Path | None):
        self.text = None if path is None else _read_cookies(path)

    def __enter__(self) -> io.StringIO | None:
        self._file = None if self.text is None else io.StringIO(self.text)
        return self._file

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            # yt-dlp truncates without going back to the start, which leaves zeros there
            self.text = self._file.getvalue().lstrip("\0") or self.text


def _read_cookies(path: Path) -> str:
    from yt_dlp.cookies import YoutubeDLCookieJar

    try:
        text = path.read_text(encoding="utf-8")
        YoutubeDLCookieJar(io.StringIO(text)).load()
    except (OSError, UnicodeDecodeError, http.cookiejar.LoadError) as error:
        raise EnvironmentFault(f"--cookies {path}: {_NOT_COOKIES}") from error
    return text


@functools.cache
def _cookies(path: Path | None) -> _Cookies:
    return _Cookies(path)


def parse_extractor_args(texts: list[str]) -> dict[str, dict[str, list[str]]]:
    """Read arguments in yt-dlp's own notation, e.g. ``youtube:player_client=tv,web;skip=dash``.

    Raises
    ------
    EnvironmentFault
        A text that is not of this form.
    """
    parsed: dict[str, dict[str, list[str]]] = {}
    for text in texts:
        extractor, colon, pairs = text.partition(":")
        if not colon or not all("=" in pair for pair in pairs.split(";")):
            raise EnvironmentFault(f"--extractor-args {text!r}: expected EXTRACTOR:KEY=VALUE[,VALUE...][;KEY=...]")
        values = (pair.partition("=") for pair in pairs.split(";"))
        keys = {key.strip().replace("-", "_"): value.split(",") for key, _, value in values}
        parsed.setdefault(extractor.strip().lower(), {}).update(keys)
    return parsed
