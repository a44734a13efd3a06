"""The shell export is run, with stand-ins that answer health checks in place of the engines."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from test_export_accepted import small

from kvplace.export.files import Options, files_for

ENGINE = f"""#!{sys.executable}
import http.server, os, sys, time
words = sys.argv[1:]
port = int(next(w for w in words if w.startswith("--port="))[7:])
with open(os.path.join(os.environ["OUT"], str(port)), "w") as file:
    file.write(f"{{time.time()}} {{os.environ['CUDA_VISIBLE_DEVICES']}} {{words[1]}}")
time.sleep(0.5)

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()

    def log_message(self, *_):
        pass

http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


@pytest.fixture
def started(tmp_path):
    """Start the script of the first node; yield it once it says that all is ready."""
    (tmp_path / "bin").mkdir()
    engine = tmp_path / "bin" / "vllm"
    engine.write_text(ENGINE)
    engine.chmod(0o755)
    (tmp_path / "out").mkdir()
    problem, placement = small()
    files = files_for(problem, placement, "shell", Options(base_port=41000))
    script = tmp_path / "start.sh"
    script.write_text(files["start-h100-0.sh"])
    environment = {
        "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "OUT": str(tmp_path / "out"),
        "HF_TOKEN": "x",
        "START_SECONDS": "20",
    }
    process = subprocess.Popen(
        ["bash", str(script)], cwd=tmp_path, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        lines = []
        for line in process.stdout:
            lines.append(line.strip())
            if line.startswith("all engines"):
                break
        yield process, lines, tmp_path
    finally:
        process.terminate()
        process.communicate(timeout=20)


def engines(folder):
    """Return start time, devices and model of each engine that was started."""
    found = [path.read_text().split(" ", 2) for path in (folder / "out").iterdir()]
    return {model: (float(at), devices) for at, devices, model in found}


def test_engines_of_a_gpu_start_one_after_the_other(started):
    process, lines, folder = started
    found = engines(folder)
    assert {model: devices for model, (_, devices) in found.items()} == {
        "org/big": "2,1",
        "org/twice": "0",
        "it's $(x)": "0",
    }
    assert found["it's $(x)"][0] - found["org/twice"][0] >= 0.5  # not before it was ready
    assert lines[-1] == "all engines are ready"
    assert sum("is ready on port" in line for line in lines) == 3
    assert process.poll() is None


@pytest.mark.skipif(not shutil.which("ps"), reason="apt-get install procps")
def test_ctrl_c_stops_all_of_them(started):
    process, _, folder = started
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 143
    time.sleep(0.2)
    running = subprocess.run(["ps", "ax", "-o", "args"], capture_output=True, text=True, check=True)
    assert str(folder / "bin" / "vllm") not in running.stdout


def test_a_missing_secret_is_said_before_anything_starts(tmp_path):
    problem, placement = small()
    script = files_for(problem, placement, "shell")["start-h100-0.sh"]
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env={"PATH": os.environ["PATH"]},
        capture_output=True, text=True, check=False, timeout=20,
    )  # fmt: skip
    assert done.returncode != 0
    assert "HF_TOKEN: is not set" in done.stderr
    assert not (tmp_path / "logs").exists()
