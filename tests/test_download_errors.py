"""From YouTube's and ffmpeg's own words to one reason each, through yt-dlp's real exceptions."""

import pytest

from audiodata.download_errors import classify, classify_media
from audiodata.errors import ClipError
from audiodata.reasons import REASONS
from audiodata.resolve import DownloadOptions, Words, extract, youtube_dl_params

yt_dlp = pytest.importorskip("yt_dlp", reason="yt-dlp is not installed (extra `youtube`)")
from yt_dlp.extractor.common import InfoExtractor  # noqa: E402
from yt_dlp.networking.exceptions import HTTPError, IncompleteRead, ProxyError, SSLError, TransportError  # noqa: E402
from yt_dlp.utils import ExtractorError, GeoRestrictedError, UnsupportedError, UserNotLive  # noqa: E402

HINT = (". Use --cookies-from-browser or --cookies for the authentication. See  https://github.com/yt-dlp/yt-dlp/wiki/FAQ"
        "#how-do-i-pass-cookies-to-yt-dlp  for how to manually pass cookies")

# What YouTube says, as yt-dlp hands it on; the sign-in hint is yt-dlp's and says nothing.
MESSAGES = [
    ("rate_limited", "Video unavailable. This content isn't available, try again later. The current session has been "
                     "rate-limited by YouTube for up to an hour."),
    ("rate_limited", "This content isn’t available, try again later."),
    ("bot_check", "Sign in to confirm you’re not a bot" + HINT),
    ("bot_check", "Sign in to confirm you're not a bot" + HINT),
    ("bot_check", "Video unavailable. YouTube is requiring a captcha challenge before playback"),
    ("bot_check", "All player responses are invalid. Your IP is likely being blocked by Youtube"),
    ("bot_check", "Our systems have detected unusual traffic from your computer network"),
    ("age_gated", "Sign in to confirm your age. This video may be inappropriate for some users" + HINT),
    ("age_gated", "This video is age-restricted and only available on YouTube" + HINT),
    ("private", "Private video. Sign in if you've been granted access to this video" + HINT),
    ("account_terminated", "Video unavailable. This video is no longer available because the YouTube account "
                           "associated with this video has been terminated."),
    ("removed", "This video has been removed by the uploader"),
    ("removed", "Video unavailable. This video has been removed for violating YouTube's policy on hate speech"),
    ("removed", "This video is no longer available because the uploader has closed their YouTube account."),
    ("copyright_geo", "Video unavailable. This video contains content from SME, who has blocked it in your country on "
                      "copyright grounds"),
    ("geo_blocked", "Video unavailable. The uploader has not made this video available in your country"),
    ("members_or_paid", "Join this channel to get access to members-only content like this video, and other perks."),
    ("members_or_paid", "This video requires payment to watch"),
    ("members_or_paid", "This video is only available to Music Premium members"),
    ("live_or_upcoming", "This live event will begin in 3 days."),
    ("live_or_upcoming", "Premieres in 21 hours"),
    ("drm", "This video is DRM protected"),
    ("bad_id", "Incomplete YouTube ID abc. URL https://www.youtube.com/watch?v=abc looks truncated."),
    ("login_other", "Please sign in" + HINT),
    ("login_other", "Login details are needed to download this content: sign in"),
    ("unavailable", "Video unavailable"),
    ("unavailable", "This video is not available"),
    ("no_format", "Requested format is not available. Use --list-formats for a list of available formats"),
]


class Http:
    """As much of yt-dlp's Response as its HTTPError looks at."""

    def __init__(self, status):
        self.status, self.reason = status, "as the server says"


def http_error(status):
    return HTTPError(Http(status))


def raised_by_extractor(make_error, params=None):
    """Raise inside a real extraction; return what leaves `extract`, which a worker would see."""

    class SaysNo(InfoExtractor):
        _VALID_URL = r"https?://says\.no/(?P<id>\w+)"

        def _real_extract(self, url):
            raise make_error()

    words = Words()
    with yt_dlp.YoutubeDL(youtube_dl_params(DownloadOptions(), words) | (params or {}), auto_init=False) as downloader:
        downloader.add_info_extractor(SaysNo())
        with pytest.raises(ClipError) as caught:
            extract(downloader, "https://says.no/video", words)
    return caught.value


@pytest.mark.parametrize(("reason", "message"), MESSAGES)
def test_what_youtube_says(reason, message):
    error = raised_by_extractor(lambda: ExtractorError(message, expected=True, video_id="video"))
    assert error.reason == reason
    assert message.split(".")[0] in error.message, "the original message is kept"
    assert not error.message.startswith("ERROR")


@pytest.mark.parametrize(("reason", "make"), [
    ("geo_blocked", lambda: GeoRestrictedError("The uploader said so", countries=["FR", "DE"])),
    ("live_or_upcoming", lambda: UserNotLive(video_id="video")),
    ("bad_id", lambda: UnsupportedError("https://says.no/private video")),
    ("rate_limited", lambda: ExtractorError("Unable to download page", cause=http_error(429), expected=True)),
    ("rate_limited", lambda: ExtractorError("Unable to download page", cause=http_error(402), expected=True)),
    ("forbidden", lambda: ExtractorError("Unable to download page", cause=http_error(403), expected=True)),
    ("not_found", lambda: ExtractorError("Unable to download page", cause=http_error(404), expected=True)),
    ("not_found", lambda: ExtractorError("Unable to download page", cause=http_error(410), expected=True)),
    ("network", lambda: ExtractorError("Unable to download page", cause=http_error(503), expected=True)),
    ("login_other", lambda: ExtractorError("Unable to download page", cause=http_error(401), expected=True)),
    ("network", lambda: ExtractorError("Unable to download page", cause=TransportError("reset"), expected=True)),
    ("network", lambda: IncompleteRead(partial=3, expected=5)),
    ("network", lambda: SSLError("handshake")),
    ("network", lambda: ProxyError("refused")),
    ("network", lambda: TimeoutError("timed out")),
    ("rate_limited", lambda: http_error(429)),
    ("extractor_broken", lambda: ExtractorError("Failed to extract any player response")),
    ("extractor_broken", lambda: KeyError("streamingData")),
    ("extractor_broken", lambda: TypeError("a bug in an extractor")),
    ("unavailable", lambda: ExtractorError("Something that nobody has heard of", expected=True)),
])
def test_exceptions_by_class_and_status(reason, make):
    assert raised_by_extractor(make).reason == reason


def test_countries_are_kept():
    error = raised_by_extractor(lambda: GeoRestrictedError("The uploader said so", countries=["FR"]))
    assert "France" in error.message


def test_an_error_inside_an_error_is_found():
    def fails():
        try:
            raise http_error(429)
        except HTTPError as cause:
            error = ExtractorError("Unable to download API page", cause=cause, expected=True)
        return error

    assert raised_by_extractor(fails).reason == "rate_limited"


def test_a_missing_runtime_is_told_where_no_format_is_offered():
    words = Words()
    words.warning("No supported JavaScript runtime could be found")
    reason, message = classify(ExtractorError("Requested format is not available", expected=True), words.warnings)
    assert reason == "no_format"
    assert "JavaScript runtime" in message


def test_colours_and_line_breaks_do_not_reach_the_ledger():
    _, message = classify(yt_dlp.utils.DownloadError("\x1b[0;31mERROR:\x1b[0m Private video.\nSign in\x07"))
    assert message == "Private video. Sign in?"


def test_a_signed_address_does_not_reach_the_ledger():
    _, line = classify_media("https://r1.example/videoplayback?ip=192.0.2.1&sig=abc: Server returned 403 Forbidden")
    assert "192.0.2.1" not in line and "403" in line


@pytest.mark.parametrize(("reason", "log"), [
    ("forbidden", "[https @ 0x55d0] HTTP error 403 Forbidden\n[in#0 @ 0x55] Server returned 403 Forbidden"),
    ("forbidden", "https://a/b: Server returned 403 Forbidden (access denied)"),
    ("not_found", "[http @ 0x1] HTTP error 404 Not Found"),
    ("not_found", "[http @ 0x1] HTTP error 410 Gone"),
    ("rate_limited", "[http @ 0x1] HTTP error 429 Too Many Requests"),
    ("network", "Error opening input: Server returned 5XX Server Error reply"),
    ("network", "[http @ 0x1] HTTP error 503 Service Unavailable"),
    ("network", "[tcp @ 0x1] Connection to tcp://127.0.0.1:9 failed: Connection refused"),
    ("network", "[http @ 0x1] Stream ends prematurely at 5, should be 9\nInvalid data found when processing input"),
    ("undecodable", "[in#0 @ 0x1] Error opening input: Invalid data found when processing input"),
    ("undecodable", "Stream map '0:a:0' matches no streams."),
    ("empty", "[http @ 0x1] HTTP error 416 Range Not Satisfiable"),
    ("", "[mp3float @ 0x1] Header missing"),
    ("", ""),
])
def test_what_ffmpeg_says(reason, log):
    found, line = classify_media(log)
    assert found == reason
    assert "0x" not in line, "memory addresses would make every message another one"


def test_all_reasons_are_in_the_closed_list():
    assert {reason for reason, _ in MESSAGES} <= set(REASONS)
