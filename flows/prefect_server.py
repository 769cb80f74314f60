"""Prefect's settings for a run, and a temporary server where the user has none.

With `PREFECT_API_URL` set, that server is used, with the user's own settings. Otherwise a server of ours serves this
run alone: on loopback, its database and log in a temporary folder, nothing taken from the user's profile. It starts
while the rest gets ready (7 to 40 s on a loaded machine), is started again when it dies, and ends with the process
that started it, even when that is killed. It hears of flows, not of the state of every shard: no one sees its page.

    with prefect_api() as api:      # starts it, at once
        ...                         # other preparations
        api.wait()                  # until it answers
        process_cohort(...)
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import ServiceError

STARTUP_VARIABLE = "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"
"""Seconds that the server may take to start; the user's own value is kept."""

_RESTARTS = 5

_DEFAULTS = {
    STARTUP_VARIABLE: "300",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLIENT_MAX_RETRIES": "7",  # 2 + 4 + ... + 128 s: a server may be away for four minutes
    "PREFECT_LOGGING_EXTRA_LOGGERS": "spinetally",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",  # our threads write log lines too
    "PREFECT_LOGGING_LEVEL": "CRITICAL",  # our own log lines tell what happens, once
    "PREFECT_LOGGING_SETTINGS_PATH": str(Path(__file__).with_name("prefect_logging.yaml")),
}


class UsersServer:
    """The server that `PREFECT_API_URL` names."""

    def wait(self) -> None:
        """Return when it answers.

        Raises:
            ServiceError: nothing answers there.
        """
        if not _answers(os.environ["PREFECT_API_URL"], within_s=60):
            raise ServiceError(
                "no Prefect server answers at PREFECT_API_URL: start it (`prefect server start`), correct the "
                "variable, or unset it to let this run start a temporary one"
            )


class TemporaryServer:
    """A server for one run, as a child process that listens on a socket of ours."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="spinetally-prefect-"))
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._stopping = threading.Event()
        self._process = self._start()
        self._watcher = threading.Thread(target=self._watch, name="prefect-server", daemon=True)
        self._watcher.start()

    @property
    def url(self) -> str:
        """Address of its API."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}/api"

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    @property
    def environment(self) -> dict[str, str]:
        """Settings that lead Prefect to this server and away from the user's profile."""
        return {
            "PREFECT_API_URL": self.url,
            "PREFECT_HOME": str(self._folder),
            "PREFECT_PROFILES_PATH": str(self._folder / "profiles.toml"),
            "PREFECT_LOGGING_TO_API_ENABLED": "false",  # what is still to be sent when it ends is complained of
        }

    def wait(self) -> None:
        """Return when it answers.

        Raises:
            ServiceError: it did not start in time.
        """
        seconds = float(os.environ[STARTUP_VARIABLE])
        if not _answers(self.url, within_s=seconds):
            raise ServiceError(
                f"Prefect's temporary server did not start within {seconds:g} s ({self._last_words()}): raise "
                f"{STARTUP_VARIABLE}, or start a server (`prefect server start`) and set PREFECT_API_URL to it"
            )
        _send_events(False)

    def stop(self) -> None:
        """End it; its database goes with it."""
        if "prefect.events.worker" in sys.modules:
            _send_events(True)
        self._stopping.set()
        self._process.kill()
        self._watcher.join()
        self._socket.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self) -> subprocess.Popen[bytes]:
        descriptor = self._socket.fileno()
        settings = {"PREFECT_HOME": str(self._folder), "PREFECT_PROFILES_PATH": str(self._folder / "profiles.toml")}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        with (self._folder / "server.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "flows.prefect_server", str(descriptor)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=(descriptor,),
                env=kept | _DEFAULTS | settings | {"PYTHONPATH": os.pathsep.join(sys.path)},
                start_new_session=True,  # a Ctrl-C is for the run, which still has to report to this server
            )

    def _watch(self) -> None:
        """Start it again when it dies; its socket stays, so clients only wait."""
        for restart in range(_RESTARTS + 1):
            self._process.wait()
            if self._process.stdin:
                self._process.stdin.close()
            if self._stopping.is_set() or restart == _RESTARTS:
                return
            self._process = self._start()

    def _last_words(self) -> str:
        lines = (self._folder / "server.log").read_text(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "it said nothing"


@contextmanager
def prefect_api() -> Iterator[UsersServer | TemporaryServer]:
    """The server of this run, starting; this process' environment names it until the end."""
    before = dict(os.environ)
    server = UsersServer() if os.environ.get("PREFECT_API_URL") else TemporaryServer()
    settings = dict(server.environment) if isinstance(server, TemporaryServer) else {}
    _apply({name: value for name, value in _DEFAULTS.items() if name not in before} | settings | _no_proxy())
    try:
        yield server
    finally:
        if isinstance(server, TemporaryServer):
            server.stop()
        os.environ.clear()
        os.environ.update(before)
        _apply({})


def _apply(environment: dict[str, str]) -> None:
    os.environ.update(environment)
    if "prefect.context" in sys.modules:  # else Prefect reads the environment when it is imported
        sys.modules["prefect.context"].refresh_global_settings_context()


def _send_events(are_sent: bool) -> None:
    """Whether Prefect tells its server of every state of every task run.

    It tells no temporary one: nobody sees its page, and its database goes with it. Events that were on their way when
    it ended were sent again and again, for minutes.
    """
    from prefect.events.clients import NullEventsClient
    from prefect.events.worker import EventsWorker

    EventsWorker.set_client_override(None if are_sent else NullEventsClient)


def _no_proxy() -> dict[str, str]:
    """Loopback is reached directly, whatever proxy is set for the world outside."""
    direct = {*filter(None, os.environ.get("NO_PROXY", "").split(",")), "127.0.0.1", "localhost"}
    return {"NO_PROXY": ",".join(sorted(direct)), "no_proxy": ",".join(sorted(direct))}


def _answers(url: str, *, within_s: float) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            with opener.open(f"{url.rstrip('/')}/health", timeout=max(1.0, deadline - time.monotonic())) as answer:
                if answer.status == 200:
                    return True
        except (urllib.error.URLError, OSError):
            pass
        except ValueError:  # no address at all
            return False
        time.sleep(0.1)
    return False


def _end_with_parent() -> None:
    """The parent holds the other end of stdin: it closes when the parent is gone, however it went."""
    os.read(0, 1)
    shutil.rmtree(os.environ["PREFECT_HOME"], ignore_errors=True)  # the parent cannot
    os.kill(os.getpid(), signal.SIGKILL)


def _serve(descriptor: int) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import uvicorn
    from prefect.server.api.server import create_app

    app = create_app(ephemeral=True, final=True)  # ephemeral: without pages and schedules, which nobody would see
    config = uvicorn.Config(app, log_level="error", lifespan="on")
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
