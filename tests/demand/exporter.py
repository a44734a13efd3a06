"""A real Prometheus, and an exporter that replays a trace to it faster than time.

Every scrape that Prometheus has read to its end moves the exporter's clock on by one interval and
serves its counters with that time, so hours are scraped in seconds and the true counts are known
exactly. A scrape that came too late on a busy machine is answered once more: Prometheus gives up
its connection then, and keeps it where it has read the answer.
"""

import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

INTERVAL = "40ms"
"""Between two scrapes; also the time that a scrape may take."""


@dataclass
class Counters:
    """Cumulative values of one engine process; a restart makes a new one."""

    requests: float = 0
    prompt: float = 0
    output: float = 0
    cached: float = 0
    ttft: list[float] = field(default_factory=list)


def serve(handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
    """Serve on a free port, in a thread."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class Replay:
    """An exporter whose pages are made by a function of their number, served one after another."""

    def __init__(self, page: Callable[[int], str | None], scrapes: int) -> None:
        self.number, self.scrapes, self.page = 0, scrapes, page
        self._known = threading.Lock()
        replay = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            served: int | None = None  # the last page of this connection

            def do_GET(self) -> None:
                number = replay.next(self.served)
                text = replay.page(number) if number < replay.scrapes else ""
                body = (text or "").encode()
                self.send_response(200 if text is not None else 500)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                self.served = number
                if text is None:  # there is nothing to be read
                    replay.next(number)

            def log_message(self, *_args: object) -> None:
                pass

        self.server = serve(Handler)
        self.port = self.server.server_address[1]

    def next(self, read: int | None) -> int:
        """Return the page to serve, after one that was read."""
        with self._known:
            if read == self.number:
                self.number += 1
            return self.number

    def done(self) -> bool:
        """Return whether every page was read."""
        return self.number > self.scrapes


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Prometheus:
    """The server of the Debian package, on a free port, with a fresh store."""

    def __init__(self, directory: Path, targets: dict[str, int], web_config: str = "") -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        jobs = [
            {
                "job_name": job,
                "scrape_interval": INTERVAL,
                "scrape_timeout": INTERVAL,
                "static_configs": [{"targets": [f"127.0.0.1:{port}"]}],
            }
            for job, port in targets.items()
        ]
        # The replayed times lie behind the server's own, which it takes for out of order.
        store = {"tsdb": {"out_of_order_time_window": "1d"}}
        config = {"scrape_configs": jobs, "storage": store}
        (directory / "prometheus.yml").write_text(json.dumps(config))
        command = [
            shutil.which("prometheus"),
            f"--config.file={directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={directory / 'store'}",
            f"--web.listen-address={self.url.removeprefix('http://')}",
        ]
        if web_config:
            (directory / "web.yml").write_text(web_config)
            command.append(f"--web.config.file={directory / 'web.yml'}")
        self.log = (directory / "log").open("wb")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)

    def wait(self, done: Callable[[], bool], seconds: float = 300) -> None:
        """Wait until a condition holds."""
        limit = time.monotonic() + seconds
        while not done():
            assert self.process.poll() is None, "Prometheus ended; see its log"
            assert time.monotonic() < limit, "Prometheus is too slow"
            time.sleep(0.05)

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(self.url + "/-/ready", timeout=1) as answer:
                return answer.status == 200
        except OSError as error:
            return "401" in str(error)

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(20)
        self.log.close()
