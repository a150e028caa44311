"""A threaded web server on loopback that serves recordings with Range support and misbehaves as it is told."""

import contextlib
import os
import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlparse

CONTENT_TYPES = {b"\x1aE\xdf\xa3": "audio/webm", b"OggS": "audio/ogg", b"RIFF": "audio/x-wav", b"fLaC": "audio/flac"}
Answer = Callable[["Handler", bytes], None]


def content_type(body: bytes) -> str:
    """Name the type by what is in the file; all that is not known is claimed to be MP4, text too."""
    return next((name for magic, name in CONTENT_TYPES.items() if body.startswith(magic)), "audio/mp4")


def status(code: int) -> Answer:
    """Answer with a bare status."""
    return lambda handler, body: handler.send_error(code)


def good(handler: "Handler", body: bytes) -> None:
    """Answer as a well-behaved server does."""
    handler.serve(body)


def cut_after(count: int) -> Answer:
    """Promise the whole body, send `count` bytes and close the connection."""
    return lambda handler, body: handler.serve(body, stop_after=count)


def endless(handler: "Handler", body: bytes) -> None:
    """Send a few bytes at a time, for ever (until the client leaves or the server stops)."""
    handler.start(200, 2**40, content_type(body))
    handler.end_headers()
    position = 0
    while not handler.server.media.stopping.is_set():
        handler.wfile.write(body[position : position + 64] or b"\0")
        handler.wfile.flush()
        position += 64
        time.sleep(0.05)


def page(text: str) -> Answer:
    """Answer with an HTML page where a recording was expected."""
    def answer(handler: "Handler", body: bytes) -> None:
        handler.start(200, len(text.encode()), "text/html; charset=utf-8")
        handler.end_headers()
        handler.wfile.write(text.encode())
    return answer


@dataclass
class Request:
    """One request as it came in; `is_media` tells ffmpeg's (with a Range) from yt-dlp's look at the address."""

    path: str
    headers: dict[str, str]
    is_media: bool


class Handler(BaseHTTPRequestHandler):
    """Serve the files of `server.media`."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer with the next scripted answer of this path, else with the file."""
        media = self.server.media
        name = unquote(urlparse(self.path).path).lstrip("/")
        request = Request(name, dict(self.headers.items()), "Range" in self.headers)
        with media.lock:
            media.requests.append(request)
            script = media.scripts[name, request.is_media]
            last_stays = media.repeats[name, request.is_media] and len(script) == 1
            answer = script[0] if last_stays else script.pop(0) if script else good
        self.close_connection = True
        if name not in media.files:
            self.send_error(404)
            return
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # clients close when they have what they want
            answer(self, media.files[name])

    def start(self, code: int, length: int, content_type: str) -> None:
        """Send the head of an answer."""
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(length))

    def serve(self, body: bytes, stop_after: int | None = None) -> None:
        """Send the range asked for."""
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        first = int(wanted[1]) if wanted else 0
        last = min(int(wanted[2]) if wanted and wanted[2] else len(body) - 1, len(body) - 1)
        if wanted and first >= len(body):
            self.start(416, 0, "text/plain")
            self.send_header("Content-Range", f"bytes */{len(body)}")
            self.end_headers()
            return
        self.start(206 if wanted else 200, last - first + 1, content_type(body))
        self.send_header("Accept-Ranges", "bytes")
        if wanted:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(body)}")
        self.end_headers()
        piece = body[first : last + 1]
        self.wfile.write(piece if stop_after is None else piece[:stop_after])

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent; the requests are in `MediaServer.requests`."""


@dataclass
class MediaServer:
    """Files by name, scripted answers by name and kind of request, and a record of every request.

    Use as a context manager; `template` is what ``--url-template`` takes.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    def __post_init__(self):
        self.scripts: dict[tuple[str, bool], list[Answer]] = defaultdict(list)
        self.repeats: dict[tuple[str, bool], bool] = defaultdict(bool)
        self.lock, self.stopping = threading.Lock(), threading.Event()

    def __enter__(self) -> "MediaServer":
        self._environment = {name: os.environ.get(name) for name in ("no_proxy", "NO_PROXY")}
        os.environ.update(dict.fromkeys(self._environment, "127.0.0.1"))  # a proxy of the machine is not for us
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads, self._server.block_on_close, self._server.media = True, False, self
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        for name, value in self._environment.items():
            os.environ.pop(name)
            os.environ.update({name: value} if value is not None else {})

    @property
    def template(self) -> str:
        """Address of the file named by an id."""
        return f"http://127.0.0.1:{self._server.server_port}/{{id}}"

    def script(self, name: str, *answers: Answer, media: bool = True, repeat: bool = False) -> None:
        """Answer the next requests for a file in this way; `media=False` concerns the first look at the address.

        With `repeat` the last answer is given for ever after.
        """
        self.scripts[name, media] = list(answers)
        self.repeats[name, media] = repeat

    def count(self, name: str, media: bool) -> int:
        """Requests for a file so far."""
        return sum(request.path == name and request.is_media == media for request in self.requests)
