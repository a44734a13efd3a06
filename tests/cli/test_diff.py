"""``kvplace diff``: what moves, starts and stops, and what it is worth."""

import csv
import json

import pytest

from kvplace.cli.main import main

MODEL = """\
  - name: {name}
    weights: {weights}GiB
    overhead: 0B
    demand: {{requests_per_second: {rate}}}
    slo: {{latency: 1s}}
"""


def fleet(*models):
    head = "schema: kvplace.fleet/v1\nnodes: [{name: n, gpus: 2, gpu: {memory: 20GiB}}]\nmodels:\n"
    return head + "".join(MODEL.format(name=n, weights=w, rate=r) for n, w, r in models)


def table(rows):
    return "model,replica,shard,gpu\n" + "".join(f"{m},0,0,n/{g}\n" for m, g in rows)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Two plans for a, b and c: b moves. On n/0 and n/1 are 20 GiB each.

    Before: a (4 GiB, 1/s) and b (6 GiB, 3/s) on n/0, c (10 GiB, 2/s) on n/1:
    4 / 10 = 0.4 and 2 / 10 = 0.2. After: 1 / 16 and 5 / 4 = 1.25.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fleet.yaml").write_text(fleet(("a", 4, 1), ("b", 6, 3), ("c", 10, 2)))
    (tmp_path / "before.csv").write_text(table([("a", 0), ("b", 0), ("c", 1)]))
    (tmp_path / "after.csv").write_text(table([("a", 0), ("b", 1), ("c", 1)]))
    return tmp_path


def test_a_move(here, capsys):
    assert main(["diff", "before.csv", "after.csv", "--fleet", "fleet.yaml"]) == 1
    out = capsys.readouterr().out.splitlines()
    assert out[0].split() == ["~", "b", "n/0", "->", "n/1", "6.0", "GiB"]
    assert out[2] == "1 to move, 0 to start, 0 to stop; 6.0 GiB of weights to load"
    assert out[3] == "max KVPR 0.4000 -> 1.250 (+212.5 %)"


def test_the_same_plan(here, capsys):
    assert main(["diff", "before.csv", "before.csv", "--fleet", "fleet.yaml"]) == 0
    out = capsys.readouterr().out
    assert "no changes" in out
    assert "max KVPR 0.4000 -> 0.4000" in out


def test_as_json_and_as_csv(here, capsys):
    call = ["diff", "before.csv", "after.csv", "--fleet", "fleet.yaml", "--format"]
    assert main([*call, "json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["value_before"] == 0.4
    assert found["value_after"] == 1.25
    assert found["changes"] == [
        {"change": "move", "model": "b", "from": ["n/0"], "to": ["n/1"], "weights_bytes": 6 * 2**30}
    ]
    assert main([*call, "csv"]) == 1
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert rows[0]["from"] == "n/0"
    call[2] = "before.csv"
    assert main([*call, "csv"]) == 0
    assert capsys.readouterr().out == "change,model,from,to,weights_bytes\n"


def test_starts_and_stops_between_different_problems(here, capsys):
    for name, models in (("one", ["a", "b"]), ("two", ["b", "c"])):
        (here / f"{name}.yaml").write_text(fleet(*((m, 5, 1) for m in models)))
        assert main(["plan", f"{name}.yaml", "--format", "json", "-o", f"{name}.json", "-q"]) == 0
    assert main(["diff", "one.json", "two.json"]) == 1
    out = capsys.readouterr().out
    assert "1 to start, 1 to stop" in out
    assert "for different models, demand or GPUs" in out
    assert "for what the second plan serves, the first is not valid" in out


def test_where_the_worst_is_the_same_the_next_is_told(here, capsys):
    (here / "fleet.yaml").write_text(fleet(("a", 4, 8), ("b", 6, 0), ("c", 10, 2)))
    (here / "before.csv").write_text(table([("a", 0), ("b", 1), ("c", 1)]))
    # a alone on n/0: 8 / 16 = 0.5. n/1: 2 / 4 = 0.5 with b, 2 / 10 = 0.2 without.
    (here / "after.csv").write_text(table([("a", 0), ("b", 0), ("c", 1)]))
    assert main(["diff", "before.csv", "after.csv", "--fleet", "fleet.yaml"]) == 1
    assert "max KVPR 0.5000 -> 0.8000" in capsys.readouterr().out
    (here / "fleet.yaml").write_text(fleet(("a", 4, 8), ("b", 6, 0), ("c", 9, 1)))
    # n/1: 1 / 5 = 0.2 with b and 1 / 11 without; n/0: 0.5, then 8 / 10 = 0.8.
    assert main(["diff", "after.csv", "before.csv", "--fleet", "fleet.yaml"]) == 1
    assert "max KVPR 0.8000 -> 0.5000 (-37.5 %)" in capsys.readouterr().out


def test_a_plan_that_does_not_fit_is_refused(here, capsys):
    (here / "after.csv").write_text(table([("a", 0), ("b", 1)]))
    assert main(["diff", "before.csv", "after.csv", "--fleet", "fleet.yaml"]) == 2
    assert "'c' has 0 replicas placed" in capsys.readouterr().err


def test_values_of_two_objectives_are_not_compared(here, capsys):
    text = fleet(("a", 4, 8), ("b", 6, 1)).replace("latency: 1s", "ttft: 1s, tpot: 10ms")
    text = text.replace("{requests", "{prompt_tokens: 50, output_tokens: 9, requests")
    (here / "fleet.yaml").write_text(
        text.replace("overhead:", "kv_bytes_per_token: 100\n    overhead:")
    )
    for name, objective in (("one", "occupancy"), ("two", "requests")):
        call = ["plan", "fleet.yaml", "--objective", objective, "-q", "-o", f"{name}.json"]
        assert main(call) == 0, capsys.readouterr().err
    assert main(["diff", "one.json", "two.json"]) in (0, 1)
    out = capsys.readouterr().out
    assert "under different objectives, occupancy and requests\n" in out
    assert "different models" not in out
    assert "(+" not in out
    assert "(-" not in out
