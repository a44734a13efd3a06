"""A long CSV goes by columns, and a short one model by model: nobody can tell which."""

import random

import pytest

from kvplace.core.model_table import ModelTable
from kvplace.errors import InputError
from kvplace.formats.tables import models
from kvplace.formats.tables.models import parse_table

HEAD = (
    "name", "weights_gib", "requests_per_second", "slo_seconds", "overhead_gib", "min_kv_gib",
    "kv_bytes_per_token", "prompt_tokens", "output_tokens", "ttft_seconds", "tpot_seconds",
    "tensor_parallel", "replicas",
)  # fmt: skip
CELLS = (
    ("a", " b ", "", "x y", "ü", '"q, r"', "'=1+1"),
    ("1", "2.5", "", "x", "-1", "1e30", "0", "'+3", "0.00000000046566128730773925781250001"),
    ("1", "0", "", "-2", "1e13", "nan", "inf", "1_0", "1e2"),
    ("1", "", "0", "x", "1e9", " 2 "),
    ("", "1", "x"),
    ("", "2", "-1", "0"),
    ("", "1000", "1.5", "x", "99999999999999999999"),
    ("", "10", "1e10"),
    ("", "10", "x"),
    ("", "0.5"),
    ("", "0.1", "0"),
    ("", "1", "1 2", "x"),
    ("", "1", "1-8", "8-1", "x"),
)  # fmt: skip


def outcome(text, short, monkeypatch):
    """The problem's digest, or every fault."""
    monkeypatch.setattr(models, "SHORT", 10**9 if short else 0)
    try:
        problem = parse_table(text, "2x80GiB,1x40GiB", "m.csv")
    except InputError as error:
        return sorted(map(str, error.faults))
    told = [
        (m.name, m.weights_bytes, m.resident_bytes(1), m.least_kv_bytes(1), m.demand, m.slo)
        for m in problem.models
    ]
    return problem.digest, problem.goal, told


def drawn(rng):
    """A table with a few cells out of the ordinary, blank lines and rows of other widths."""
    keep = rng.choice([4, 4, 5, 9, 13])
    lines = [",".join(HEAD[:keep])]
    for row in range(rng.randint(1, 6)):
        cells = [
            rng.choice(CELLS[c]) if rng.random() < 0.15 else (CELLS[c][0] if c else f"m{row}")
            for c in range(keep)
        ]
        if rng.random() < 0.05:
            cells = [*cells, "more"] if rng.random() < 0.5 else cells[:-1]
        lines.append(",".join(cells))
        if rng.random() < 0.1:
            lines.append(rng.choice(["", "  ", "," * (keep - 1)]))
    return "\n".join(lines) + "\n"


def test_both_ways_give_the_same_problem_or_the_same_faults(monkeypatch):
    rng = random.Random(5)
    seen = {True: 0, False: 0}
    for _ in range(150):
        text = drawn(rng)
        short, long = (outcome(text, way, monkeypatch) for way in (True, False))
        assert long == short, text
        seen[isinstance(short, tuple)] += 1
    assert min(seen.values()) > 30


@pytest.mark.parametrize("text", ["", "\n\n", "name,weights_gib\n", ",".join(HEAD) + "\n\n"])
def test_what_is_no_table_is_refused_alike(text, monkeypatch):
    assert outcome(text, False, monkeypatch) == outcome(text, True, monkeypatch)


def test_a_long_csv_is_held_as_arrays_across_chunks(monkeypatch):
    monkeypatch.setattr("kvplace.formats.tables.csv_columns._AT_ONCE", 7)
    rows = [f"m{i},{1 + i / 8},{i + 1},1" for i in range(50)]
    text = "\n".join([",".join(HEAD[:4]), *rows[:20], "", *rows[20:]])
    short = outcome(text, True, monkeypatch)
    assert outcome(text, False, monkeypatch) == short
    assert isinstance(parse_table(text, "9x80GiB").models, ModelTable)
    with pytest.raises(InputError) as caught:
        parse_table(text.replace("m33,", "m3,").replace("m41,6.125", "m41,six"), "9x80GiB")
    assert {(f.path, f.line) for f in caught.value.faults} == {
        ("models[33].name", 36), ("models[41].weights_gib", 44),
    }  # fmt: skip
