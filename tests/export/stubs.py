"""Commands that a runbook gives, replaced by ones that note what they were asked."""

import ast
import os
import subprocess
import sys
from pathlib import Path

_STUB = """#!{python} -IS
import os, sys  # all that most commands need: a runbook starts hundreds of them
name, words = os.path.basename(sys.argv[0]), sys.argv[1:]
host = os.environ.get("STUB_HOST", os.environ.get("DOCKER_HOST", ""))
with open(os.environ["STUB_LOG"], "a+") as log:
    log.seek(0)
    number = len(log.readlines())
    fails = os.environ.get("STUB_FAILS", "")
    failed = bool(fails) and fails in " ".join([name, *words])
    failed = failed or os.environ.get("STUB_FAILS_AT") == str(number)
    mark = "failed " if failed else ""
    log.write(repr([mark + name, *words, *([f"@{{host}}"] if host else [])]) + "\\n")
if failed:
    sys.exit(3)
if name == "python3" and words[0] == "-c":
    os.execv(sys.executable, [sys.executable, *words])
if name == "ssh":
    address, line = words[-2], words[-1]
    os.environ["STUB_HOST"] = address
    os.execvp("bash", ["bash", "-c", line])
if name == "docker" and "ps" in words:
    print("id-of-" + words[-1].rpartition("=")[2])
if name == "curl" and "metrics" in words[-1]:
    print("vllm:num_requests_running{{engine=\\"0\\"}} 0.0\\nvllm:num_requests_waiting 0")
if name == "curl" and "is_sleeping" in words[-1]:
    at = words[-1].removesuffix("is_sleeping")
    with open(os.environ["STUB_LOG"]) as log:
        asked = [line for line in log if at in line and ("sleep?" in line or "wake_up" in line)]
    print('{{"is_sleeping": %s}}' % str(bool(asked) and "sleep?" in asked[-1]).lower())
if name == "curl" and "serve/applications" in words[-1]:
    print('{{"applications": {{"kvplace": {{"status": "RUNNING"}}}}}}')
if name == "tmux" and "has-session" in words:
    sys.exit(1)
if name == "fuser" and "-k" not in words:
    sys.exit(1)
"""
NAMES = ("docker", "kubectl", "curl", "ssh", "tmux", "fuser", "pkill", "serve", "hook", "setsid",
         "python3")  # fmt: skip


class Stubs:
    """A directory of commands, and what they were asked."""

    def __init__(self, path: Path):
        self.path, self.log = path / "bin", path / "log"
        self.path.mkdir(parents=True)
        for name in NAMES:
            file = self.path / name
            file.write_text(_STUB.format(python=sys.executable))
            file.chmod(0o755)

    def run(self, script, *words, fails="", **variables):
        """Run a runbook; return how it ended."""
        env = {
            "PATH": f"{self.path}:/usr/bin:/bin",
            "HOME": os.environ.get("HOME", "/"),
            "STUB_LOG": str(self.log),
            "STUB_FAILS": fails,
            "COMPOSE_PROJECT_NAME": "live",
            "ROUTER_HOOK": "hook",
            **variables,
        }
        return subprocess.run(
            ["bash", str(script), *words],
            env=env,
            text=True,
            capture_output=True,
            timeout=120,
            check=False,
        )

    def asked(self):
        """Return the commands given so far, a list of words each."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [ast.literal_eval(line) for line in lines]

    def forget(self):
        """Forget what was asked."""
        self.log.unlink(missing_ok=True)
