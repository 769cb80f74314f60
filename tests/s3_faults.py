"""A proxy between a client and an S3 server that spoils some requests, as networks and services do."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class Fault(StrEnum):
    """What happens to a request."""

    BUSY = "busy"
    """Answered 503, the server never sees it."""
    CUT = "cut"
    """The connection breaks in the middle of the answer's body."""
    SHORT = "short"
    """The body ends before its Content-Length, in good order."""
    UNDERSTATED = "understated"
    """Half the body with a Content-Length that fits, and no checksum: only who knows the content can tell."""
    LOST = "lost"
    """The server does it, and its answer is lost."""
    CUT_UPLOAD = "cut upload"
    """The server gets half of the request's body, then the connection breaks on both sides."""
    PRECONDITION = "precondition"
    """Answered 412, the server never sees it."""
    CONFLICT = "conflict"
    """Answered 409, the server never sees it."""
    EXPIRED = "expired"
    """Answered 403 ExpiredToken, the server never sees it."""
    SLOW = "slow"
    """Two seconds before anything happens."""


SLOW_SECONDS = 2.0

_ANSWERS = {
    Fault.BUSY: (503, "ServiceUnavailable", "Please try again."),
    Fault.PRECONDITION: (412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold"),
    Fault.CONFLICT: (409, "ConditionalRequestConflict", "A conflicting operation occurred during the request."),
    Fault.EXPIRED: (403, "ExpiredToken", "The provided token has expired."),
}

Chooser = Callable[[str, str], Fault | None]
"""Method and path of a request to what happens to it."""


def none(_method: str, _path: str) -> None:
    """Leave every request alone."""


class EveryNth:
    """A fault for every n-th request whose method and path fit, the first of them included; `most` in all."""

    def __init__(self, fault: Fault, n: int = 1, *, method: str = "", path: str = "", most: int = 10**9) -> None:
        self._fault, self._n, self._method, self._path, self._most = fault, n, method, path, most
        self._seen, self._lock = 0, threading.Lock()

    def __call__(self, method: str, path: str) -> Fault | None:
        if self._method not in ("", method) or self._path not in path:
            return None
        with self._lock:
            self._seen += 1
            turn, position = divmod(self._seen - 1, self._n)
        return self._fault if position == 0 and turn < self._most else None


class S3Proxy:
    """The proxy: `choose` says what happens to a request, `happened` what did."""

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream).netloc
        self.choose: Chooser = none
        self.happened: list[Fault] = []
        self.requests: list[tuple[str, str]] = []
        self.server = _Server(("127.0.0.1", 0), self)

    @property
    def endpoint(self) -> str:
        """Where clients reach it."""
        return f"http://127.0.0.1:{self.server.server_port}"

    def calm(self) -> None:
        """From now on let everything through, and forget what happened."""
        self.choose, self.happened, self.requests = none, [], []


@contextmanager
def s3_proxy(upstream: str) -> Iterator[S3Proxy]:
    """A proxy before an S3 server, on a free port of the loopback."""
    proxy = S3Proxy(upstream)
    thread = threading.Thread(target=proxy.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.server.shutdown()
        proxy.server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], proxy: S3Proxy) -> None:
        super().__init__(address, _Handler)
        self.proxy = proxy

    def handle_error(self, request: object, client_address: object) -> None:
        """Broken connections are what this server is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        proxy = self.server.proxy
        proxy.requests.append((self.command, self.path))
        fault = proxy.choose(self.command, self.path)
        if fault is not None:
            proxy.happened.append(fault)
        if fault in _ANSWERS:
            self._refuse(*_ANSWERS[fault])
        elif fault is Fault.CUT_UPLOAD:
            self._forward_half(body)
            self._break()
        else:
            time.sleep(SLOW_SECONDS if fault is Fault.SLOW else 0)
            status, headers, answer = self._forward(body)
            self._answer(fault, status, headers, answer)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _handle  # noqa: N815 - names of http.server

    def _headers(self) -> dict[str, str]:
        # Host stays as the client signed it; a body is sent at once, without asking
        return {name: value for name, value in self.headers.items() if name.lower() not in ("expect", "connection")}

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self.server.proxy.upstream, timeout=60)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self._headers().items():
                connection.putheader(name, value)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _forward_half(self, body: bytes) -> None:
        host, port = self.server.proxy.upstream.split(":")
        head = f"{self.command} {self.path} HTTP/1.1\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in self._headers().items())
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(f"{head}\r\n".encode() + body[: len(body) // 2])

    def _answer(self, fault: Fault | None, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        if fault is Fault.LOST:
            self._break()
            return
        is_spoilt = status in (200, 206) and len(body) > 1 and self.command == "GET"
        if fault is Fault.UNDERSTATED and is_spoilt:
            body = body[: len(body) // 2]
            headers = [(n, v) for n, v in headers if n.lower() != "content-length" and "checksum" not in n.lower()]
            headers.append(("Content-Length", str(len(body))))
        self.send_response(status)
        dropped = {"transfer-encoding", "connection", "date", "server"}
        chunked = any(name.lower() == "transfer-encoding" for name, _ in headers)
        for name, value in [*headers, *([("Content-Length", str(len(body)))] if chunked else [])]:
            if name.lower() not in dropped:
                self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault in (Fault.CUT, Fault.SHORT) and is_spoilt:
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            self._break(reset=fault is Fault.CUT)
        else:
            self.wfile.write(body)

    def _refuse(self, status: int, code: str, message: str) -> None:
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _break(self, *, reset: bool = True) -> None:
        self.close_connection = True
        with suppress(OSError):
            if reset:  # a close that sends RST
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                self.connection.shutdown(socket.SHUT_WR)
            self.connection.close()

    def log_message(self, *_: object) -> None:
        """Say nothing."""
