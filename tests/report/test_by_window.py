"""The heat map of GPUs by window: its figures are those of the evaluation."""

from dataclasses import replace

from kvplace.core.certificates.claim import Bound
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Model
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.core.result import Result, Stop
from kvplace.report.answers.differences import diff, differences_json, differences_table
from kvplace.report.page.by_window import GPUS_SHOWN, WINDOWS_SHOWN, by_window
from kvplace.report.page.page import page
from kvplace.report.summary import over_windows, summary, where_and_when
from timings import PowerTiming

GIB = 2**30


def problem(gpus=3, windows=("day", "night"), name="m{}"):
    models = tuple(
        Model(
            name.format(at), 4 * GIB, Demand(2.0, 1.0, 0.0), SLO(1.0, 1.0), GIB, overhead_bytes=0,
            windows={w: Demand(1.0 + (at + k) % 3, 1.0, 0.0) for k, w in enumerate(windows)},
        )
        for at in range(gpus - 1)
    )  # fmt: skip
    fleet = Fleet((Node("n", tuple(GPU(f"n/{i}", "fast", 12 * GIB) for i in range(gpus))),))
    works = {m.name: 0.25 if at else 0.05 for at, m in enumerate(models)}
    return Problem(models, fleet, "pressure", timing=PowerTiming(works, {"fast": 1.0}, 1.0))


def result(of):
    placement = Placement.single({m.name: f"n/{at}" for at, m in enumerate(of.models)})
    found = evaluate(of, placement)
    return Result(of, placement, found, Bound(0.0, "trivial"), Stop.GAP, "auto", 0, 0, 0.0)


def test_cells_are_the_larger_of_memory_and_time():
    found = by_window(result(problem()))
    # m0: 1 and 2 GiB in use of 8, and 0.05 a GiB of time; m1: 2 and 3 GiB, and 0.25 of time each.
    rows = {row["id"]: row for row in found["rows"]}
    assert found["windows"] == ["day", "night"]
    assert [cell["text"] for cell in rows["n/0"]["cells"]] == ["12", "25"]
    assert [cell["kind"] for cell in rows["n/0"]["cells"]] == ["KV", "KV"]
    assert [cell["text"] for cell in rows["n/1"]["cells"]] == ["50", "75"]
    assert rows["n/1"]["cells"][1]["says"] == "KV memory 38 %, GPU time 75 %"
    assert list(rows) == ["n/1", "n/0"]  # the worst first, and no idle ones
    assert found["says"] == (
        "What is fullest is KV memory on 1 and GPU time on 1 of 2 GPUs in use. 2 of them are "
        "fullest in window night; the calmest window is day, in which no GPU is above 50 %."
    )


def test_of_windows_with_the_same_peak_the_calmest_is_that_of_less_in_all():
    of = problem()
    rates = [{"day": 2.0, "night": 1.0}, {"day": 2.0, "night": 2.0}]
    windows = [{w: Demand(rate, 1.0, 0.0) for w, rate in each.items()} for each in rates]
    models = (replace(m, windows=ws) for m, ws in zip(of.models, windows, strict=True))
    found = by_window(result(replace(of, models=tuple(models))))
    assert "the calmest window is night, in which no GPU is above 50 %" in found["says"]


def test_many_gpus_and_windows_are_cut_to_the_fullest():
    windows = tuple(f"w{at}" for at in range(WINDOWS_SHOWN + 3))
    found = by_window(result(problem(GPUS_SHOWN + 6, windows)))
    assert (len(found["rows"]), found["more"]) == (GPUS_SHOWN, 5)
    assert (len(found["windows"]), found["left_out"]) == (WINDOWS_SHOWN, 3)
    assert not found["lettered"]


def test_one_window_or_another_objective_has_no_map():
    bare = replace(problem(), models=tuple(replace(m, windows={}) for m in problem().models))
    assert by_window(result(replace(bare, windows=()))) is None
    assert by_window(result(problem().with_objective("occupancy"))) is None
    assert "full when" not in page(result(replace(bare, windows=())))


def test_names_on_the_page_are_escaped():
    text = page(result(problem(name="<script>{}", windows=("<b>day", "night"))))
    assert "Which GPU is full when" in text
    assert "<b>day" not in text
    assert "<script>0" not in text


def test_words_on_where_and_when():
    found = result(problem())
    told = where_and_when(found.problem, found.evaluation)
    assert told == (
        "GPU time is fullest on 1 GPU, KV memory is fullest on 1 GPU; most often in night (2)"
    )
    worst = found.evaluation.gpus[1]
    assert over_windows(found.problem, worst) == (
        "KV 38 % and time 75 % in night; KV 25 % and time 50 % in day"
    )
    alike = replace(worst, occupancies=(0.5, 0.5), time_shares=(0.2, 0.2))
    assert over_windows(found.problem, alike) == ""


def test_a_difference_tells_both_pressures():
    before = result(problem())
    moved = Placement.single({"m0": "n/1", "m1": "n/1"})
    after = replace(before, placement=moved, evaluation=evaluate(before.problem, moved))
    text = differences_table(diff(before, after))
    assert "fullest KV pool 38 % -> 125 %, busiest GPU 75 % -> 85 %" in text
    assert '"time_share_after": 0.85' in differences_json(diff(before, after))


def test_a_quantile_is_named_where_the_value_is_told():
    of = replace(problem(), quantile=0.95)
    assert "GPU time 146 % (95 % quantile) in window night" in summary(result(of))
    assert "(the 95\u00a0% quantile of both)" in page(result(of))
