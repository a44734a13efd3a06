"""A hub id goes through the hub's own client, here against a hub on this machine."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from checkpoints import write_safetensors

pytest.importorskip("huggingface_hub", reason="a hub id needs the extra 'hub'")

CONFIG = {
    "model_type": "llama",
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "hidden_size": 4096,
    "torch_dtype": "bfloat16",
}
COMMIT = "a" * 40


@pytest.fixture
def hub(tmp_path):
    """Serve files by repository and name; a file of None answers as a gated repository."""
    files, tokens = {}, []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            tokens.append(self.headers.get("Authorization"))
            path = self.path.partition("?")[0]
            repo, _, name = path.removeprefix("/").partition("/resolve/")
            name = name.partition("/")[2]
            if repo not in {key[0] for key in files}:
                return self.answer(404, b"", {"X-Error-Code": "RepoNotFound"})
            if (repo, name) not in files:
                missing = {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}
                return self.answer(404, b"", missing)
            body = files[repo, name]
            if body is None:
                return self.answer(403, b"", {"X-Error-Code": "GatedRepo"})
            head = {"ETag": f'"{hashlib.sha256(body).hexdigest()}"', "X-Repo-Commit": COMMIT}
            span = self.headers.get("Range")
            if span:
                begin, _, end = span.removeprefix("bytes=").partition("-")
                part = body[int(begin) : int(end or len(body)) + 1]
                return self.answer(206, part, head)
            return self.answer(200, body, head)

        do_HEAD = do_GET  # noqa: N815 - the name that http.server calls

        def answer(self, status, body, head):
            self.send_response(status)
            for name, value in {**head, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *_args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = {
        **os.environ,
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_address[1]}",
        "HF_HOME": str(tmp_path / "home"),
        "HF_TOKEN": "hf_secret",
        "HF_HUB_DISABLE_XET": "1",
    }

    def ask(name, **more):
        command = [sys.executable, "-m", "kvplace", "model", name, "--facts", "hub"]
        return subprocess.run(
            [*command, "--format", "json"],
            env={**environment, **more}, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip

    yield files, tokens, ask
    server.shutdown()
    server.server_close()


def test_config_and_index_give_the_facts_and_stay_in_the_cache(hub):
    files, tokens, ask = hub
    files["org/m", "config.json"] = json.dumps(CONFIG).encode()
    index = {"metadata": {"total_size": 16060522496}, "weight_map": {}}
    files["org/m", "model.safetensors.index.json"] = json.dumps(index).encode()
    done = ask("org/m")
    assert done.returncode == 0, done.stderr
    (model,) = json.loads(done.stdout)["models"]
    assert model["weights_bytes"] == 16_060_522_496
    assert model["kv_bytes_per_token_per_rank"] == 131_072
    assert "model.safetensors.index.json" in model["origins"]["weights_bytes"]
    assert "Bearer hf_secret" in tokens
    asked = len(tokens)
    again = ask("org/m", HF_HUB_OFFLINE="1")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout) == json.loads(done.stdout)
    assert len(tokens) == asked


def test_a_single_file_is_read_by_its_header(hub, tmp_path):
    files, _tokens, ask = hub
    write_safetensors(tmp_path / "w", 5000)
    files["org/m", "config.json"] = json.dumps(CONFIG).encode()
    files["org/m", "model.safetensors"] = (tmp_path / "w").read_bytes()
    done = ask("org/m")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["models"][0]["weights_bytes"] == 5000


@pytest.mark.parametrize(
    ("name", "files_there", "told"),
    [
        ("org/none", {}, "the hub has no such model"),
        ("org/m", {"config.json": None}, "the model is gated"),
        ("org/m", {"README.md": b""}, "has no config.json"),
        ("org/m", {"config.json": json.dumps(CONFIG).encode()}, "weights are not known"),
        ("org/m", {"config.json": b"{"}, "it is not JSON"),
        (
            "org/m",
            {"config.json": json.dumps(CONFIG).encode(), "model.safetensors.index.json": b"[]"},
            "must be a JSON object",
        ),
        ("a/b/c", {}, "no directory and no hub id"),
    ],
)
def test_every_refusal_is_one_line(name, files_there, told, hub):
    files, _tokens, ask = hub
    files.update({("org/m", file): content for file, content in files_there.items()})
    done = ask(name)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert told in line
    assert "hf_secret" not in line


def test_a_hub_out_of_reach_is_one_line(hub, tmp_path):
    _files, _tokens, ask = hub
    # The client would wait 23 s in all between its retries: not with a sleep that ends the process.
    paths = [str(tmp_path), os.environ.get("PYTHONPATH", "")]
    ends = "import os, time\ntime.sleep = lambda seconds: os._exit(99)\n"
    (tmp_path / "sitecustomize.py").write_text(ends)
    done = ask("org/m", HF_ENDPOINT="http://127.0.0.1:9", PYTHONPATH=os.pathsep.join(paths))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "the hub is out of reach" in line
