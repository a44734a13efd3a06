"""Pipes, devices and closed streams: content goes where it should, and nothing crashes."""

import gzip
import json
import os
import pty
import re
import signal
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


@pytest.mark.parametrize("command", [
    "kvplace replan fleet.json --current <(cat plan.json)",
    "cat plan.json | kvplace export - --to compose -o out",
])  # fmt: skip
def test_a_plan_whose_kind_is_looked_at_first_may_come_through_a_pipe(command, tmp_path):
    models = {"name": "a", "weights": "1GiB", "demand": {"requests_per_second": 1},
              "slo": {"latency": "1s"}}  # fmt: skip
    fleet = {"schema": "kvplace.fleet/v1", "nodes": "1x80GiB", "models": [models]}
    (tmp_path / "fleet.json").write_text(json.dumps(fleet))
    made = shell("kvplace plan fleet.json -o plan.json", tmp_path)
    assert made.returncode == 0, made.stderr
    done = shell(command, tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("ends", "told"),
    [
        ("p.csv", "no program writes this pipe to its end"),
        ("f.csv --format json -o p.csv", "no program reads this pipe"),
    ],
)
def test_a_pipe_without_another_end_is_waited_for_up_to_the_limit(ends, told, tmp_path):
    os.mkfifo(tmp_path / "p.csv")
    done = shell(f"kvplace plan {ends} --gpus 80GiB --time-limit 0.3", tmp_path, timeout=60)
    assert done.returncode == 2
    assert told in done.stderr


def test_one_signal_ends_a_command_whose_output_nobody_reads(tmp_path):
    os.mkfifo(tmp_path / "p")
    line = "exec kvplace plan f.csv --gpus 80GiB --format json -o p"
    (tmp_path / "f.csv").write_text(FLEET)
    with subprocess.Popen(
        ["bash", "-c", line.replace("kvplace", PROGRAM)], cwd=tmp_path, stderr=subprocess.PIPE
    ) as started:
        with pytest.raises(subprocess.TimeoutExpired):
            started.wait(2)
        started.terminate()
        assert started.wait(60) in (2, -signal.SIGTERM)


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


@pytest.fixture
def terminal():
    """Both ends of a pseudo-terminal, ours and the program's."""
    try:
        return pty.openpty()
    except OSError as error:  # a sandbox may have none
        pytest.skip(f"needs a pseudo-terminal: {error}")


def test_a_terminal_gets_lines_broken_at_words_and_a_pipe_does_not(terminal, tmp_path):
    master, slave = terminal
    (tmp_path / "f.csv").write_text(FLEET)
    command = [sys.executable, "-m", "kvplace", "plan", "f.csv", "--gpus", "2x80GiB"]
    environment = {**os.environ, "COLUMNS": "60", "PYTHONIOENCODING": "utf-8"}
    piped = subprocess.run(
        command, cwd=tmp_path, check=True, capture_output=True, encoding="utf-8", env=environment
    ).stdout.splitlines()
    subprocess.run(
        command, cwd=tmp_path, check=True, stdout=slave, stderr=subprocess.DEVNULL,
        env={**environment, "NO_COLOR": "1"},
    )  # fmt: skip
    os.close(slave)
    shown = os.read(master, 65536).decode().splitlines()
    os.close(master)
    assert max(map(len, piped)) > 60 >= max(map(len, shown))
    assert piped[-1].startswith("max KVPR")
    at = next(i for i, line in enumerate(shown) if line.startswith("max KVPR"))
    assert re.sub(r"\S+ s$", "", " ".join(shown[at:])) == re.sub(r"\S+ s$", "", piped[-1])


def test_messages_are_wrapped_on_a_terminal_and_whole_in_a_file(terminal, tmp_path):
    ours, its = terminal
    (tmp_path / "f.csv").write_text(FLEET.replace("weights_gib", "weights"))
    words = [sys.executable, "-m", "kvplace", "plan", "f.csv", "--gpus", "2x80GiB"]
    whole = subprocess.run(words, cwd=tmp_path, check=False, capture_output=True, text=True).stderr
    with os.fdopen(its, "w") as stream:
        subprocess.run(
            words, cwd=tmp_path, check=False, stdout=subprocess.DEVNULL, stderr=stream,
            env={**os.environ, "COLUMNS": "60"},
        )  # fmt: skip
        told = os.read(ours, 2**16).decode().replace("\r\n", "\n")
    os.close(ours)
    lines = told.rstrip("\n").split("\n")
    assert max(map(len, lines)) <= 60
    assert len(lines) > len(whole.splitlines())
    assert re.sub(r"\n  ", " ", told) == whole
    assert all(line.startswith(("kvplace: ", "  ")) for line in lines)
