"""What a measurement says: ratios, gaps, who is below auto, and what a wrong bound counts for."""

import json
import math
import xml.etree.ElementTree as ET

import pytest

from kvplace.bench import solvers
from kvplace.bench.cases import cases_of
from kvplace.bench.document import document, rows
from kvplace.bench.environment import environment
from kvplace.bench.families import Case, build
from kvplace.bench.measure import Run, best_bounds, measure, scores
from kvplace.bench.plot import draw_gaps, mean_gap
from kvplace.bench.solvers import Outcome, call
from kvplace.bench.tables import percent
from kvplace.core.result import relative_gap
from kvplace.errors import InputError, InternalError


def run(case, solver, value, bound, *, optimum=None, proved=False, evidence="claim", seconds=0.5):
    trace = ((0.1, math.inf, bound / 2), (0.2, 2 * value, bound / 2), (seconds, value, bound))
    outcome = Outcome(value, bound, proved, evidence, seconds, trace)
    return Run("family", case, solver, 4, 2, optimum, outcome)


def test_scores_by_hand():
    # Values 1 and 4 against a reference of 2 and 2: geometric mean of 1/2 and 2 is 1.
    runs = [
        run("a", "auto", 1.0, 1.0, optimum=1.0, proved=True),
        run("b", "auto", 4.0, 1.0),
        run("c", "auto", math.inf, 0.0),
        run("a", "reference", 2.0, 1.0, optimum=1.0, seconds=0.25),
        run("b", "reference", 2.0, 1.25, seconds=0.25),
        run("c", "reference", math.inf, 1.0, seconds=0.25),
    ]
    mine, reference = scores(runs)
    assert (mine.cases, mine.solved, mine.optimal, mine.proved) == (3, 2, 1, 1)
    assert mine.mean_value == 2.5
    assert mine.score == pytest.approx(1 / 2.5 + 2 / 3)
    assert mine.ratio == pytest.approx(1.0)
    assert mine.seconds == pytest.approx(1.5)
    assert mine.seconds_ratio == pytest.approx(2.0)
    assert reference.ratio == 1.0
    # On b the reference is lower, on a higher, on c neither has anything.
    assert (reference.below_auto, reference.above_auto) == (1, 1)
    assert (mine.below_auto, mine.above_auto) == (0, 0)
    assert math.isinf(mine.max_gap)


def test_gaps_by_hand():
    runs = [
        run("a", "auto", 1.1, 1.0),
        run("a", "cp-sat", 1.2, 1.05),
        run("b", "auto", 2.0, 2.0, proved=True),
        run("b", "cp-sat", 2.2, 1.1),
    ]
    auto, rival = scores(runs)
    assert auto.mean_gap == pytest.approx(0.05)
    assert auto.max_gap == pytest.approx(0.1)
    assert auto.max_excess == pytest.approx(1.1 / 1.05 - 1)
    assert rival.max_gap == pytest.approx(1.0)
    assert rival.max_excess == pytest.approx(1.2 / 1.05 - 1)


def test_a_solver_that_solves_nothing_has_no_mean():
    (score,) = scores([run("a", "x", math.inf, 0.0)])
    assert math.isnan(score.mean_value)
    assert score.score == 0


def test_a_bound_that_a_value_refutes_counts_for_nothing():
    runs = [
        run("a", "auto", 1.0, 0.9),
        run("a", "liar", 1.5, 1.2),
        run("a", "broken", 1.5, 0.99, evidence="failed: no"),
    ]
    assert best_bounds(runs) == {"a": 0.9}


def test_a_document_holds_all_that_the_issue_asks_for():
    problem = build([10, 10], [4, 4, 4], [1, 1, 1], [1, 1, 1])
    runs = measure([("tiny", Case("one", problem))], ["auto", "reference"], time_limit=2.0)
    facts = {"seeds": [0], "seed": 0, "time_limit": 2.0, "absent": {"x": "not there"}}
    whole = document(runs, **facts, environment=environment())
    assert {"python", "kvplace", "numpy", "highspy"} <= whole["environment"]["versions"].keys()
    assert whole["environment"]["cores"] >= 1
    assert len(whole["environment"]["commit"] or "x" * 40) == 40
    assert whole["absent"] == {"x": "not there"}
    auto, reference = whole["runs"]
    assert auto["value"] == reference["value"] == 1.0
    assert auto["proved"]
    assert auto["evidence"].partition(":")[0] in {"certificate", "search"}
    assert auto["value_to_reference"] == 1.0
    assert reference["seconds_to_reference"] == 1.0
    assert json.loads(json.dumps(whole))["families"] == ["tiny"]


def test_a_certificate_that_the_checker_rejects_is_no_evidence(monkeypatch):
    monkeypatch.setattr(solvers, "check_certificate", lambda *_: "the prices are too low")
    problem = build([10, 10], [4, 4, 4], [1, 1, 1], [1, 1, 1])
    outcome = call("reference", Case("one", problem))
    assert outcome.evidence == "failed: the prices are too low"


def test_a_solver_that_fails_ends_no_measurement(monkeypatch):
    def broken(*_, **__):
        raise InternalError("the bound exceeds the value")

    monkeypatch.setattr(solvers, "solve", broken)
    outcome = call("auto", Case("one", build([10], [4], [1], [1])))
    assert outcome.value == math.inf
    assert outcome.evidence == "failed: the bound exceeds the value"


def test_cases_come_from_families_and_from_files(tmp_path):
    file = tmp_path / "mine.csv"
    file.write_text(
        "name,weights_gib,requests_per_second,slo_seconds\na,10,1,2\nb,20,2,2\n", "utf-8"
    )
    found = cases_of(["20x40", str(file)], [3, 4], gpus="2x80GiB")
    assert [(family, case.name) for family, case in found] == [
        ("20x40", "20x40-3"), ("20x40", "20x40-4"), ("mine", "mine-requests"),
    ]  # fmt: skip
    with pytest.raises(InputError, match="neither a family"):
        cases_of(["20x41"], [0])


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_a_plot_is_written(tmp_path, suffix):
    pytest.importorskip("matplotlib")
    path = tmp_path / f"gaps.{suffix}"
    runs = [run("a", "auto", 1.0, 0.9), run("a", "lost", math.inf, 0.5)]
    draw_gaps(runs, str(path))
    if suffix == "svg":
        assert ET.parse(path).getroot().tag.endswith("svg")
        assert "auto" in path.read_text("utf-8")
    else:
        assert path.read_bytes().startswith(b"\x89PNG")


def test_a_plot_of_an_unknown_kind_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"a plot ends in"):
        draw_gaps([run("a", "auto", 1.0, 0.9)], str(tmp_path / "gaps.gif"))


def test_the_mean_gap_waits_for_every_case():
    early, late = run("a", "auto", 1.0, 1.0, seconds=0.3), run("b", "auto", 1.0, 1.0, seconds=0.9)

    def gap(_, value, bound):
        return relative_gap(value, bound)

    assert math.isinf(mean_gap([early, late], 0.05, gap))
    assert math.isinf(mean_gap([early, late], 0.15, gap))
    # At 0.5 s the first is closed; the second has value 2 and bound 1/2, a gap of 3.
    assert mean_gap([early, late], 0.5, gap) == pytest.approx(1.5)
    assert mean_gap([early, late], 1.0, gap) == 0


def test_rows_have_one_shape():
    runs = [run("a", "auto", 1.0, 0.9), run("a", "cp-sat", 0.9, 0.9), run("b", "cp-sat", 1, 1)]
    table = rows(runs)
    assert len({tuple(row) for row in table}) == 1
    assert [row["value_to_auto"] for row in table] == [1.0, 0.9, None]
    assert table[1]["value_to_reference"] is None


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0.0, "0"), (1e-10, "0"), (5e-7, "<0.0001 %"), (0.000043, "0.0043 %"), (0.0123, "1.2 %"),
     (0.5, "50.0 %"), (math.inf, "-")],
)  # fmt: skip
def test_shares_are_printed_as_far_as_they_say_something(share, shown):
    assert percent(share) == shown
