"""Rules for Prometheus: they load, and they compute the pool's share in use."""

import shutil
import subprocess

import pytest
import yaml

from kvplace.export.files import files_for
from kvplace.formats.read import parse_fleet
from kvplace.solver.solve import solve

FLEET = """\
schema: kvplace.fleet/v1
nodes: [{name: n, gpus: 1, gpu: {type: X, memory: 80GiB}}]
models:
  - {name: org/a, weights: 20GiB, kv_bytes_per_token: 131072, overhead: 0B,
     demand: {requests_per_second: 3, prompt_tokens: 900, output_tokens: 100},
     slo: {ttft: 1s, tpot: 50ms}}
  - {name: 'b "x" \\ y', weights: 20GiB, kv_bytes_per_token: 131072, overhead: 0B,
     demand: {requests_per_second: 1, prompt_tokens: 900, output_tokens: 100},
     slo: {ttft: 1s, tpot: 50ms}}
"""


@pytest.fixture(scope="module")
def rules():
    problem = parse_fleet(FLEET)
    result = solve(problem)
    (text,) = files_for(problem, result.placement, "prometheus").values()
    return text, result


def test_planned_pressure_is_that_of_the_plan(rules):
    text, result = rules
    found = yaml.safe_load(text)["groups"][0]["rules"]
    planned = [rule for rule in found if rule["record"] == "kvplace:planned_kv_used"]
    assert [rule["labels"] for rule in planned] == [{"gpu": "n/0"}]
    assert float(planned[0]["expr"][7:-1]) == pytest.approx(result.value, rel=1e-5)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="apt-get install prometheus")
def test_prometheus_computes_the_share_of_the_pool(rules, tmp_path):
    text, _ = rules
    (tmp_path / "rules.yaml").write_text(text)
    series = {
        'vllm:kv_cache_usage_perc{model_name="org/a",instance="1"}': "0.8+0x20",
        'vllm:kv_cache_usage_perc{model_name="b \\"x\\" \\\\ y",instance="2"}': "0.4+0x20",
    }
    test = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "30s",
        "tests": [
            {
                "interval": "30s",
                "input_series": [{"series": s, "values": v} for s, v in series.items()],
                "promql_expr_test": [
                    {
                        # The demand of a is three times that of b, and so is its part.
                        "expr": "kvplace:observed_kv_used",
                        "eval_time": "5m",
                        "exp_samples": [
                            {
                                "labels": 'kvplace:observed_kv_used{gpu="n/0"}',
                                "value": 0.75 * 0.8 + 0.25 * 0.4,
                            }
                        ],
                    }
                ],
            }
        ],
    }
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(test))
    done = subprocess.run(
        ["promtool", "test", "rules", "test.yaml"], cwd=tmp_path, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
