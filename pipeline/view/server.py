"""A page on the loopback that shows one scan, and nothing else.

The address holds a random word, so that no other page and no other user of this machine can guess it, and requests
under another host name are refused (DNS rebinding).
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files

from pipeline.errors import RequestError
from pipeline.view.scan import ViewedScan

_ASSETS = files("pipeline.view") / "assets"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".nii": "application/octet-stream",
}
_POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval' blob:; worker-src blob:; connect-src 'self' data:; "
    "img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; font-src data:; frame-ancestors 'none'; "
    "base-uri 'none'"
)
_HOST = "127.0.0.1"


@contextmanager
def serve(scan: ViewedScan, *, port: int = 0) -> Iterator[str]:
    """Serve one scan while the context lasts; the address of its page.

    Args:
        scan: what is shown.
        port: of the loopback; 0 takes a free one.

    Raises:
        RequestError: another program has the port, or it may not be taken.
    """
    word = secrets.token_urlsafe(16)
    pages = _pages(scan)
    try:
        server = ThreadingHTTPServer((_HOST, port), partial(_Handler, word, pages))
    except (OSError, OverflowError) as error:
        raise RequestError(
            f"cannot listen on port {port} of {_HOST}: {error}; give another, or 0 for a free one"
        ) from error
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="spinetally-view", daemon=True)
    thread.start()
    try:
        yield f"http://{_HOST}:{server.server_port}/{word}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _pages(scan: ViewedScan) -> dict[str, bytes]:
    names = ("view.html", "view.js", "view.css", "niivue.umd.js")
    pages = {name: (_ASSETS / name).read_bytes() for name in names}
    facts = scan.facts | {"files": sorted(scan.files)}
    return pages | scan.files | {"": pages["view.html"], "facts.json": json.dumps(facts).encode()}


class _Handler(BaseHTTPRequestHandler):
    """Answers GET for the few names there are."""

    def __init__(self, word: str, pages: dict[str, bytes], *arguments: object) -> None:
        self.word, self.pages = word, pages
        super().__init__(*arguments)  # type: ignore[arg-type] # request, address, server

    def do_GET(self) -> None:
        """Give a page, or 404."""
        _, word, *rest = self.path.split("?")[0].split("/", 2)
        name = rest[0] if rest else None
        host = self.headers.get("Host", "").rpartition(":")[0]
        if host != _HOST or not secrets.compare_digest(word, self.word) or name not in self.pages:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        data = self.pages[name]
        self.send_response(HTTPStatus.OK)
        suffix = "." + name.rpartition(".")[2] if name else ".html"
        self.send_header("Content-Type", _TYPES[suffix])
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", _POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing: addresses hold the random word."""
