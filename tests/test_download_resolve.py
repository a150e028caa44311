"""From an id to an address: what yt-dlp is told, and that an id can't become anything but an id."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from media_server import MediaServer, endless, good, page, status

from audiodata.errors import CatalogError, ClipError, EnvironmentFault
from audiodata.fetch import _command, read_span
from audiodata.resolve import (
    YOUTUBE,
    Address,
    DownloadOptions,
    Words,
    extract,
    import_yt_dlp,
    is_youtube,
    parse_extractor_args,
    resolve,
    video_url,
    youtube_dl_params,
)
from audiodata.settings import validated

yt_dlp = pytest.importorskip("yt_dlp", reason="yt-dlp is not installed (extra `youtube`)")

ELSEWHERE = "http://127.0.0.1:1/{id}"
COOKIES = "# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t0\tsession\tsecret\n"


def options(**values):
    return validated(DownloadOptions, values, "download")


def test_the_whole_address_is_asked_for_even_if_the_id_looks_like_an_option():
    assert video_url(YOUTUBE, "-abc_DEF-12") == "https://www.youtube.com/watch?v=-abc_DEF-12"


@pytest.mark.parametrize("recording_id", ["../../x", "abc", "a b c d e f", "abcdefghijk&list=PL", "abcdefghij\n", ""])
def test_what_is_no_youtube_id_is_not_asked_for(recording_id):
    with pytest.raises(ClipError) as caught:
        video_url(YOUTUBE, recording_id)
    assert caught.value.reason == "bad_id"


@given(st.text(min_size=1))
def test_an_id_stays_in_its_place_in_the_address(recording_id):
    try:
        url = video_url(ELSEWHERE + "/end?{id}", recording_id)
    except ClipError as error:
        assert error.reason == "bad_id"
        return
    quoted = r"([A-Za-z0-9_.~-]|%[0-9A-F]{2})+"
    assert re.fullmatch(rf"http://127\.0\.0\.1:1/{quoted}/end\?{quoted}", url)


@pytest.mark.parametrize(("template", "expected"), [
    (YOUTUBE, True), ("https://youtu.be/{id}", True), ("https://M.YOUTUBE.com/watch?v={id}", True), (ELSEWHERE, False),
    ("https://notyoutube.com/{id}", False), ("https://example.org/youtube.com/{id}", False),
])
def test_only_other_servers_get_the_generic_extractor(template, expected):
    assert is_youtube(template) is expected
    allowed = youtube_dl_params(options(url_template=template), Words())["allowed_extractors"]
    assert ("generic" in allowed) is not expected


@pytest.mark.parametrize(("values", "complaint"), [
    ({"url_template": "https://example.org/video"}, "{id}"),
    ({"url_template": "file:///{id}"}, "http address"),
    ({"proxy": "socks5://localhost:1080"}, "http://host:port"),
    ({"cookies": "/nowhere/cookies.txt"}, "no such cookie file"),
    ({"timeout": 3}, "did you mean `timeout_s`"),
])
def test_settings_that_cannot_work_are_refused_in_one_line(values, complaint):
    with pytest.raises(CatalogError, match=re.escape(complaint)) as caught:
        options(**values)
    assert "\n" not in str(caught.value)


def test_every_parameter_is_one_that_yt_dlp_documents(tmp_path):
    (tmp_path / "cookies.txt").write_text(COOKIES)
    given_options = options(
        cookies=tmp_path / "cookies.txt", proxy="localhost:3128", extractor_args={"youtube": {"skip": ["dash"]}}
    )
    params = youtube_dl_params(given_options, Words(), cookies=object())
    documented = set(re.findall(r"^ {4}(\w+):", yt_dlp.YoutubeDL.__doc__, re.MULTILINE))
    assert {"cookiefile", "proxy", "extractor_args"} <= set(params)
    assert set(params) <= documented
    assert params["ignoreerrors"] is False
    assert params["proxy"] == "http://localhost:3128"


def test_extractor_args_in_yt_dlps_notation():
    parsed = parse_extractor_args(["youtube:player-client=tv,web;skip=dash", "generic:impersonate=false"])
    youtube = {"player_client": ["tv", "web"], "skip": ["dash"]}
    assert parsed == {"youtube": youtube, "generic": {"impersonate": ["false"]}}
    with pytest.raises(EnvironmentFault, match="expected EXTRACTOR:KEY=VALUE"):
        parse_extractor_args(["youtube"])


def test_yt_dlp_gets_its_extractor_args():
    params = youtube_dl_params(options(extractor_args={"youtube": {"lang": ["de"]}}), Words())
    with yt_dlp.YoutubeDL(params, auto_init=False) as downloader:
        extractor = yt_dlp.extractor.get_info_extractor("Youtube")()
        downloader.add_info_extractor(extractor)
        assert extractor._configuration_arg("lang") == ["de"]


def test_a_missing_yt_dlp_is_one_line(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "yt_dlp", None)
    with pytest.raises(EnvironmentFault, match=r"pip install 'audiodata\[youtube\]'"):
        import_yt_dlp()


def test_a_live_broadcast_and_a_playlist_are_no_clips():
    class Fake:
        def __init__(self, **info):
            self.info = info

        def extract_info(self, url, download):
            assert download is False
            return self.info

    for reason, info in [("live_or_upcoming", {"live_status": "is_upcoming"}), ("live_or_upcoming", {"is_live": True}),
                         ("bad_id", {"_type": "playlist"}), ("no_format", {})]:
        with pytest.raises(ClipError) as caught:
            extract(Fake(**info), "https://a/b", Words())
        assert caught.value.reason == reason


@pytest.fixture
def server(tmp_path):
    with MediaServer({"video": b"\x1aE\xdf\xa3" + bytes(1000)}) as running:
        yield running


def test_a_video_is_resolved_with_what_ffmpeg_needs(server):
    source = resolve(video_url(server.template, "video"), options(url_template=server.template))
    assert source.address.url == server.template.replace("{id}", "video")
    assert "Mozilla" in source.address.headers["User-Agent"]
    assert source.described["extractor"] == "generic"
    assert server.count("video", media=False) == 1


@pytest.mark.parametrize(("reason", "answer"), [
    ("not_found", status(404)), ("rate_limited", status(429)), ("network", status(502)), ("forbidden", status(403)),
    ("bad_id", page("<html><body>Nothing to hear</body></html>")),
])
def test_refusals_on_the_first_look(server, reason, answer):
    server.script("video", answer, media=False, repeat=True)
    with pytest.raises(ClipError) as caught:
        resolve(video_url(server.template, "video"), options(url_template=server.template))
    assert caught.value.reason == reason


def test_a_page_that_never_ends_is_given_up(server):
    def endless_page(handler, body):
        handler.start(200, 2**40, "text/html")
        handler.end_headers()
        while not handler.server.media.stopping.is_set():
            handler.wfile.write(b"<p>more</p>" * 10)
            time.sleep(0.02)

    server.script("video", endless_page, media=False)
    started = time.monotonic()
    with pytest.raises(ClipError, match="no answer within 1 s") as caught:
        resolve(video_url(server.template, "video"), options(url_template=server.template, timeout_s=1))
    assert caught.value.reason == "network"
    assert time.monotonic() - started < 10


def test_nobody_listens():
    with pytest.raises(ClipError) as caught:
        resolve("http://127.0.0.1:1/video", options(url_template=ELSEWHERE))
    assert caught.value.reason == "network"


def test_cookies_reach_both_and_the_users_file_stays_as_it_is(server, tmp_path):
    def sets_a_cookie(handler, body):
        handler.start(200, len(body), "audio/webm")
        handler.send_header("Set-Cookie", "renewed=yes; Path=/")
        handler.end_headers()
        handler.wfile.write(body)

    path = tmp_path / "cookies.txt"
    path.write_text(COOKIES)
    server.script("video", sets_a_cookie, good, media=False)
    for _ in range(2):
        source = resolve(video_url(server.template, "video"), options(url_template=server.template, cookies=path))
    with pytest.raises(ClipError):
        read_span(source.address, 0, 1, over_read_s=0, timeout_s=30)
    sent = [request.headers.get("Cookie", "") for request in server.requests]
    assert all("session=secret" in cookies for cookies in sent), sent
    assert "renewed=yes" in sent[1], "a process goes on with the cookies that it was given on the way"
    assert server.requests[-1].is_media
    assert path.read_text() == COOKIES


def test_what_is_no_cookie_file_is_one_line(server, tmp_path):
    path = tmp_path / "cookies.json"
    for content in ('[{"name": "session"}]', "binary\0\xff"):
        path.write_bytes(content.encode("latin-1"))
        with pytest.raises(EnvironmentFault, match="not a cookie file"):
            resolve(video_url(server.template, "video"), options(url_template=server.template, cookies=path))
        path = tmp_path / "cookies.bin"


def test_a_proxy_is_used_by_both(server):
    template = "http://media.invalid/{id}"
    proxy = server.template.removesuffix("/{id}")
    source = resolve(video_url(template, "video"), options(url_template=template, proxy=proxy))
    with pytest.raises(ClipError):
        read_span(source.address, 0, 1, over_read_s=0, timeout_s=30, proxy=proxy)
    assert server.count("video", media=False) == 1
    assert server.count("video", media=True) >= 1


def test_a_header_can_not_become_two_and_an_address_no_option():
    address = Address("http://a/b", {"X": "1\r\nInjected: yes"}, ("a=b\r\nc=d",))
    command = _command(address, 0, 1.0, 60.0)
    headers = command[command.index("-headers") + 1]
    assert headers.count("\r\n") == 1
    assert command[command.index("-cookies") + 1].count("\r\n") == 1
    for url in ("file:///etc/passwd", "-i", "concat:http://a|http://b"):
        with pytest.raises(ClipError):
            _command(Address(url), 0, 1.0, 60.0)


def test_an_endless_answer_is_cut_off_by_the_clips_own_time_limit(server):
    server.script("video", endless, repeat=True)
    started = time.monotonic()
    with pytest.raises(ClipError, match="within 1 s") as caught:
        read_span(Address(server.template.replace("{id}", "video")), 0, 1, over_read_s=0, timeout_s=1)
    assert caught.value.reason == "network"
    assert time.monotonic() - started < 10
