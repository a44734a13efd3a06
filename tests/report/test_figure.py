"""The main figure of a plan for slides."""

import pytest

import kvplace

FLEET = {
    "schema": "kvplace.fleet/v1",
    "nodes": "1x2x80GiB",
    "models": [
        {
            "name": name,
            "weights": "10GiB",
            "demand": {"requests_per_second": rate},
            "slo": {"latency": "2s"},
        }
        for name, rate in (("a", 3), ("b", 1))
    ],
}


def test_a_figure_of_few_gpus_shows_what_was_before(tmp_path):
    after = kvplace.solve(kvplace.read(FLEET))
    one = kvplace.Placement(tuple(kvplace.Replica(name, 0, ("80GiB/0",)) for name in ("a", "b")))
    problem = kvplace.Problem(after.problem.models, after.problem.fleet)
    before = kvplace.refine(problem, one, iterations=0)
    kvplace.report(after, before).draw(str(tmp_path / "with.svg"))
    kvplace.report(after).draw(str(tmp_path / "without.svg"))
    assert (tmp_path / "with.svg").read_bytes() != (tmp_path / "without.svg").read_bytes()


def test_a_plan_by_another_objective_is_drawn_by_this_one(tmp_path):
    given = dict(FLEET, models=[
        {**model, "kv_bytes_per_token": 100_000, "slo": {"ttft": "1s", "tpot": "50ms"},
         "demand": {**model["demand"], "prompt_tokens": 500, "output_tokens": 100}}
        for model in FLEET["models"]
    ])  # fmt: skip
    after = kvplace.solve(kvplace.read(given), objective="occupancy")
    one = kvplace.Placement(tuple(kvplace.Replica(name, 0, ("80GiB/0",)) for name in ("a", "b")))
    other = after.problem.with_objective("requests")
    before = kvplace.refine(other, one, iterations=0)
    kvplace.report(after, before).draw(str(tmp_path / "other.svg"))
    same = kvplace.refine(after.problem, one, iterations=0)
    kvplace.report(after, same).draw(str(tmp_path / "same.svg"))
    assert (tmp_path / "other.svg").read_bytes() == (tmp_path / "same.svg").read_bytes()


def test_a_plan_that_has_no_value_here_is_said_to_be_left_out(tmp_path):
    pytest.importorskip("matplotlib")
    after = kvplace.solve(kvplace.read(FLEET))
    kinds = ({**model, "kv_bytes_per_token": 1, "slo": {"ttft": "1s", "tpot": "50ms"}, "demand":
              {"requests_per_second": 1, "prompt_tokens": 5, "output_tokens": 1}}
             for model in FLEET["models"][:1])  # fmt: skip
    before = kvplace.solve(kvplace.read({**FLEET, "models": list(kinds)}))
    kvplace.report(after, before).draw(str(tmp_path / "with.svg"))
    kvplace.report(after).draw(str(tmp_path / "without.svg"))
    assert (tmp_path / "with.svg").read_bytes() != (tmp_path / "without.svg").read_bytes()
