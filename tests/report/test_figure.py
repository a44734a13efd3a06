"""The main figure of a plan for slides."""

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
