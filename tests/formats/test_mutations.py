"""A thousand damaged files: each is read, or refused with faults; never another exception."""

import random
import re
import time

import pytest

from kvplace.errors import InputError
from kvplace.formats.fleet.write import write_fleet
from kvplace.formats.plan.io import read_plan, write_plan
from kvplace.formats.read import parse_fleet, read
from kvplace.solver.solve import solve
from made import rows_of

FLEET = """\
schema: kvplace.fleet/v1
defaults: {overhead: 1GiB}
nodes:
  - {name: a, count: 2, gpus: 2, gpu: {type: H100-SXM-80GB, reserve: 2GiB}, labels: {zone: z}}
  - name: b
    gpus: [{memory: 40GiB}, {type: X, memory: 80GiB}]
models:
  - name: org/one
    weights: 10GiB
    kv_bytes_per_token: 131072
    demand: {requests_per_second: 126/min, prompt_tokens: 700, output_tokens: 70.5}
    slo: {ttft: 1s, tpot: 20ms, latency: 2s}
  - name: "two"
    weights: 1500MB
    kv_bytes_per_token: 131072
    kv_bytes_per_sequence: 3MiB
    overhead: 0B
    min_kv: 2GiB
    tensor_parallel: 1
    replicas: {min: 1, max: 1}
    demand: {requests_per_second: 0.5, prompt_tokens: 1e3, output_tokens: 100}
    slo: {ttft: 500ms, tpot: 20ms}
"""
TABLE = """\
name,weights_gib,requests_per_second,slo_seconds,overhead_gib,tensor_parallel,replicas
one,10,2.1,3,,1,1
"two, too",1.5,.5,1e1,0,,
"""
TOKENS = [
    "", " ", "\n", "\t", "\r", "\x00", "\x07", "\x85", "\ufeff", "\ud800", "\\ud800", '"', "'", "{",
    "}", "[", "]", ",", ":", ": ", "- ", "#", "&a ", "*a", "!!int ", "!x ", "? ", "| ", "> ", "%",
    "@", "`", "---\n", "...\n", "~", "null", "true", "NaN", ".nan", "-.inf", "Infinity", "-1", "0",
    "1e400", "9" * 5000, "0x1F", "0o8", "1_000", "12:30", "GiB", "-5GiB", "ms", "/s", "é", "😀",
    "\u202e", "name", "weights", "[" * 100, "{a: " * 50, "\x1b[31m", "\u2028",
]  # fmt: skip


def damaged(text, chance):
    """Return `text` after one to four random edits of bytes, lines or tokens."""
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(text) + 1)
        lines = text.split("\n")
        kind = chance.randrange(8)
        if kind == 0:
            text = text[:at] + chance.choice(TOKENS) + text[at:]
        elif kind == 1:
            text = text[:at] + text[at + chance.randint(1, 8) :]
        elif kind == 2:
            text = text[:at] + chr(chance.randrange(256)) + text[at + 1 :]
        elif kind == 3:
            del lines[chance.randrange(len(lines))]
            text = "\n".join(lines)
        elif kind == 4:
            lines.insert(chance.randrange(len(lines)), chance.choice(lines))
            text = "\n".join(lines)
        elif kind == 5:
            text = text[:at]
        else:
            parts = re.split(r"([\w./-]+)", text)
            if len(parts) > 1:
                parts[2 * chance.randrange(len(parts) // 2) + 1] = chance.choice(TOKENS)
            text = "".join(parts)
    return text


@pytest.fixture(scope="module")
def originals():
    problem = parse_fleet(FLEET)
    result = solve(problem, solver="reference")
    return {
        "f.yaml": FLEET,
        "g.yaml": write_fleet(problem),
        "f.json": '{"schema": "kvplace.fleet/v1",\n "nodes": [{"name": "a", "gpus": 1,\n  "gpu": '
        '{"memory": "80GiB"}}],\n "models": [{"name": "m", "weights": "1GiB",\n  "demand": '
        '{"requests_per_second": 1}, "slo": {"latency": "1s"}}]}',
        "m.csv": TABLE,
        "p.json": write_plan(result),
        "p.csv": rows_of(result),
    }


def _take(path):
    """Read a file of any kind; return the faults that refuse it."""
    try:
        if path.name.startswith("p"):
            read_plan(path)
        else:
            read(path, gpus="2x80GiB" if path.suffix == ".csv" else None)
    except InputError as error:
        return error
    return None


def _assert_told(error, content):
    """Every fault is located, unless it is the whole file, and harmless to print."""
    assert error.faults, content
    lines = error.lines()
    assert all(line.isprintable() for line in lines), lines
    for fault in error.faults:
        located = fault.line or fault.path or fault.message.startswith("and ")
        assert located or fault.message == "this file is empty", (fault, content)


@pytest.mark.parametrize("name", ["f.yaml", "g.yaml", "f.json", "m.csv", "p.json", "p.csv"])
def test_damaged_files_are_read_or_refused(name, originals, tmp_path):
    chance = random.Random(f"seed of {name}")
    path = tmp_path / name
    path.write_text(originals[name], encoding="utf-8")
    assert _take(path) is None
    refused = 0
    for _ in range(250):
        content = damaged(originals[name], chance).encode("utf-8", "surrogatepass")
        if chance.random() < 0.1:
            at = chance.randrange(len(content) + 1)
            content = content[:at] + bytes([chance.randrange(256)]) + content[at:]
        path.write_bytes(content)
        start = time.perf_counter()
        error = _take(path)
        assert time.perf_counter() - start < 2
        if error is not None:
            refused += 1
            _assert_told(error, content)
    assert refused > 100
