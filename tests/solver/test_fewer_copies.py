"""``replicas: {target: 0.7}``: the fewest copies at or below it."""

import pytest

from kvplace.formats.fleet.write import write_fleet
from kvplace.formats.read import parse_fleet
from kvplace.solver.solve import solve

FLEET = """\
schema: kvplace.fleet/v1
nodes: [{{name: n, gpus: 8, gpu: {{memory: 80GiB}}}}]
defaults: {{overhead: 0GiB}}
models:
  - name: a
    weights: 20GiB
    kv_bytes_per_token: 1048576
    replicas: {{min: 1, max: 8{target}}}
    demand: {{requests_per_second: 4, prompt_tokens: 0, output_tokens: 10240}}
    slo: {{ttft: 100ms, tpot: 1ms}}
"""


def copies(target: str):
    problem = parse_fleet(FLEET.format(target=target))
    result = solve(problem)
    return problem, result, len(result.placement)


def test_without_a_target_copies_are_as_many_as_lower_the_pressure():
    assert copies("")[2] == 8


@pytest.mark.parametrize("fewest", [1, 2, 4, 8])
def test_the_fewest_copies_at_or_below_the_target(fewest):
    alone = copies(", target: 1000000")[1].evaluation.value
    target = alone / fewest * 1.01
    problem, result, number = copies(f", target: {target}")
    assert number == fewest
    assert [replica.index for replica in result.placement] == list(range(fewest))
    assert result.evaluation.value == pytest.approx(alone / fewest)
    assert result.bound <= result.evaluation.value
    assert parse_fleet(write_fleet(problem)).models == problem.models
    assert copies(", target: 0.0001")[2] == 8


def test_no_demand_is_spread_by_free_memory():
    models = "\n".join(
        f"  - {{name: m{i}, weights: {10 + i}GiB, kv_bytes_per_token: 1, slo: {{latency: 1s}},"
        f" demand: {{requests_per_second: 0}}}}"
        for i in range(8)
    )
    text = "schema: kvplace.fleet/v1\nnodes: [{name: n, gpus: 8, gpu: {memory: 80GiB}}]\n"
    result = solve(parse_fleet(f"{text}models:\n{models}\n"))
    assert result.evaluation.value == 0
    assert all(len(gpu.shards) == 1 for gpu in result.evaluation.gpus)
