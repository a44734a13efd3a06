"""The wrong answers of a new user's review, each with what is said now, and its exit code."""

import pytest

from kvplace.cli.main import main

NODES = "nodes: [{name: h, gpus: %d, gpu: {type: H100-SXM-80GB, memory: 79.18GiB}}]\n"
MODEL = """\
  - name: meta-llama/Llama-3.1-8B-Instruct
    weights: 14.958GiB
    kv_bytes_per_token: 131072
    demand: {requests_per_second: %s, prompt_tokens: 900, output_tokens: %s}
    slo: {ttft: %s, tpot: 20ms}
"""


@pytest.fixture
def run(tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(models, *words, gpus=1):
        (tmp_path / "f.yaml").write_text(
            f"schema: kvplace.fleet/v1\n{NODES % gpus}models:\n{models}"
        )
        code = main([words[0], "f.yaml", *words[1:]])
        out, err = capfd.readouterr()
        return code, out, err

    return call


def test_memory_is_no_longer_the_only_resource(run):
    code, out, err = run(MODEL % (200, 10, "600ms"), "plan", "--objective", "occupancy")
    assert code == 0
    assert "time" in out
    code, out, err = run(MODEL % (200, 10, "600ms"), "plan")
    assert code == 5
    assert "= GPU time" in out
    assert "warning: h/0: KV pool 31 % full, GPU time" in err
    code, out, err = run(MODEL % (200, 10, "600ms"), "size", "--target", "80%", "--time-limit", "5")
    assert code != 0
    assert "is at" in out + err


def test_the_objective_no_longer_falls_back_in_silence(run):
    silent = (
        "  - {name: bge, weights: 1.1GiB, demand: {requests_per_second: 5}, slo: {latency: 1s}}\n"
    )
    code, _, err = run(MODEL % (2, 10, "600ms") + silent, "plan")
    assert code == 0
    assert "because bge lacks kv_bytes_per_token" in err


def test_a_percentage_of_a_quantity_with_a_unit_is_refused(run):
    silent = (
        "  - {name: bge, weights: 1.1GiB, demand: {requests_per_second: 5}, slo: {latency: 1s}}\n"
    )
    code, _, err = run(silent, "size", "--target", "80%")
    assert code == 2
    assert "'80%' is a percentage, but the objective requests is in 1/(s² GiB)" in err


def test_no_demand_is_said(run):
    code, _, err = run(MODEL % (0, 10, "600ms"), "plan", gpus=2)
    assert code == 0
    assert "no model has demand" in err


def test_an_overload_has_its_own_exit_code_unless_it_is_allowed(run):
    heavy = MODEL % (30, 3000, "600ms")
    code, out, err = run(heavy, "plan", gpus=2)
    assert code == 5
    assert "max pressure" in out
    assert "warning: overloaded: h/" in err
    assert run(heavy, "plan", "--allow-overload", gpus=2)[0] == 0
    assert run(heavy, "plan", "--quiet", gpus=2)[::2] == (5, "")


def test_objectives_of_no_time_are_refused(run):
    code, _, err = run(MODEL % (2, 10, "0s"), "plan")
    assert code == 2
    assert "models[0].slo.ttft" in err
    assert "must be above 0s" in err
