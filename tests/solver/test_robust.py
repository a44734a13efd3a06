"""Robust plans: never worse than the plain plan where they were planned for, by brute force."""

import random
from dataclasses import replace

from kvplace.checking.load import load_plan
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.models.objective import Objective
from kvplace.core.scenarios import robust_windows, with_scenarios, without_scenarios
from kvplace.formats.plan.io import write_plan
from kvplace.formats.read import parse_fleet
from kvplace.report.answers.robust import robust_lines
from kvplace.solver.robust import solve_robust
from kvplace.solver.solve import refine, solve
from oracle_splits import solve_by_force
from splits import random_split_problem


def test_a_robust_plan_is_the_best_for_its_scenarios():
    draw = random.Random(13)
    tried = 0
    while tried < 25:
        of = random_split_problem(draw, models=3, objectives=(Objective.PRESSURE,))
        if not any(of.loads):
            continue
        alone = tried % 2 == 0
        found = solve_robust(of, 1.5, one_at_a_time=alone, most=2)
        wanted = with_scenarios(of, robust_windows(of, 1.5, most=2, together=not alone))
        assert found.result.problem == wanted
        best = solve_by_force(wanted)
        if best is None:
            assert found.result.placement is None
            continue
        tried += 1
        assert found.result.bound <= found.result.value * (1 + 1e-9)
        assert without_scenarios(wanted).windows == of.windows
        if found.result.placement is None:
            continue
        assert found.stated_value == evaluate(of, found.result.placement).value
        planned = {window.name for window in wanted.windows}
        values = [one.value for one in found.scenarios if one.window.name in planned]
        most = max(values, default=0.0)
        # All at once presses at least as much as any of them alone.
        assert most == max((one.value for one in found.scenarios), default=0.0) or alone
        assert max(most, found.stated_value) == found.result.value
        assert found.stated_value <= found.result.value
        assert robust_lines(found)[-1].startswith("robustness costs")


FLEET = "\n".join(
    [
        "schema: kvplace.fleet/v1",
        "nodes: [{name: h, gpus: 2, gpu: {type: H100-SXM-80GB}}]",
        "models:",
        *(
            f"  - {{name: {name}, weights: 15.3GiB, kv_bytes_per_token: 147456, "
            f"demand: {{requests_per_second: {rate}, prompt_tokens: 500, output_tokens: 200}}, "
            "slo: {ttft: 1s, tpot: 50ms}, architecture: {layers: 36, hidden_size: 4096, "
            "parameters: 8190735360, active_parameters: 8190735360}}"
            for name, rate in (("a", 4), ("b", 1), ("c", 2))
        ),
        "",
    ]
)


def test_a_fleet_file_may_ask_for_robustness(tmp_path):
    plain, robust = parse_fleet(FLEET), parse_fleet(FLEET + "robust: 1.5\n")
    assert [w.name for w in robust.windows] == ["always", "1.5 x the 3 hottest"]
    assert without_scenarios(robust).windows == plain.windows
    found = solve_robust(plain, 1.5)
    assert found.result.problem.digest == robust.digest
    file = tmp_path / "plan.json"
    file.write_text(write_plan(found.result))
    # The plan names its scenarios: it is read back, with and without the fleet that lacks them.
    assert load_plan(file).value == found.result.value
    fleet = _written(tmp_path, FLEET)
    assert load_plan(file, fleet).problem == robust
    # A plan in columns named none, and check called it wrong; so did it under another objective.
    columns = tmp_path / "plan.parquet"
    for result in (found.result, solve(replace(plain, quantile=0.9))):
        write_plan(result, columns)
        assert load_plan(columns, fleet).value == result.value
    other = refine(robust, found.result.placement, objective="occupancy")
    file.write_text(write_plan(other))
    assert load_plan(file, fleet).value == other.value


def _written(folder, text):
    path = folder / "fleet.yaml"
    path.write_text(text)
    return path
