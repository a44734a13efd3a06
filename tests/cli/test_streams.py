"""Pipes, devices and closed streams: content goes where it should, and nothing crashes."""

import gzip
import os
import subprocess
import sys

import pytest

FLEET = "name,weights_gib,requests_per_second,slo_seconds\na,1,1,1\n"
LOG = "t,model,prompt_tokens,output_tokens\n0,a,9,1\n60,a,9,1\n"
PROGRAM = f"{sys.executable} -m kvplace"


def shell(command, tmp_path, **options):
    (tmp_path / "f.csv").write_text(FLEET)
    (tmp_path / "log.csv").write_text(LOG)
    return subprocess.run(
        ["bash", "-c", command.replace("kvplace", PROGRAM)], cwd=tmp_path, check=False,
        capture_output=True, text=True, env=os.environ, **options,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("kvplace plan f.csv --gpus 2x80GiB -q --format json -o /dev/stdout | head -1", "{"),
        ("kvplace demand trace - < log.csv", "requests/s"),
        ("kvplace demand trace <(cat log.csv) --format csv", "a,"),
        ("kvplace demand trace /dev/stdin --format csv < log.csv", "a,"),
    ],
)
def test_pipes_are_files(command, told, tmp_path):
    done = shell(command, tmp_path)
    assert done.stderr.count("internal error") == 0
    assert told in done.stdout


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_a_closed_stream_is_no_crash(closed, tmp_path):
    done = shell(f"kvplace plan f.csv --gpus 2x80GiB {closed}", tmp_path)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr


def test_a_pipe_of_packed_bytes_is_one_line(tmp_path):
    (tmp_path / "log").write_bytes(gzip.compress(LOG.encode()))
    done = shell("kvplace demand trace - < log", tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
