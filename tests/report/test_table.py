"""The table for a person: right rows, right width, nothing hostile gets through."""

from dataclasses import replace

import pytest
from rich.cells import cell_len

from kvplace.core.certificates.certificate import Bound
from kvplace.core.certificates.standing import never_kept
from kvplace.core.evaluation.evaluate import Rows, evaluate
from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Model, Replicas
from kvplace.core.models.objective import Objective
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.core.result import Result, Stop
from kvplace.core.rules.apart import Apart
from kvplace.report.summary import format_kvpr, reasons, summary
from kvplace.report.tables.models import model_rows
from kvplace.report.tables.plan import HOTTEST, Look, plan_table
from kvplace.solver.solve import refine, solve
from kvplace.units import GIB


def problem_of(models, gpus, objective=Objective.REQUESTS):
    """Build a problem from (name, weights GiB, rate) and usable GiB; no overhead, objective 1 s."""
    return Problem(
        tuple(
            Model(
                name,
                round(weights * GIB),
                Demand(rate, 100.0, 0.0),
                SLO(ttft_seconds=1.0, tpot_seconds=0.1, latency_seconds=1.0),
                kv_bytes_per_token=GIB // 100,
                overhead_bytes=0,
            )
            for name, weights, rate in models
        ),
        Fleet((Node("n", tuple(GPU(f"n/{i}", "G", round(m * GIB)) for i, m in enumerate(gpus))),)),
        objective,
    )


def evaluated(problem, gpu_of):
    """Return a result that holds just this placement."""
    return refine(problem, Placement.single(gpu_of), iterations=0)


def gpu_lines(shown):
    """Return the lines of the table of GPUs and what follows."""
    lines = shown.splitlines()
    return lines[next(i for i, line in enumerate(lines) if "GPU  " in line) :]


@pytest.fixture(scope="module")
def two():
    # n/0: load 6 on 10 - 4 GiB = 1; n/1: load 1 on 10 - 8 GiB = 0.5. Single-model bound of a on
    # an empty GPU: 6 / 6 = 1, so 1 is optimal.
    problem = problem_of([("org/a", 4, 6.0), ("org/b", 8, 1.0)], [10, 10])
    return solve(problem)


def test_rows_go_from_the_hottest_gpu_to_the_coldest(two):
    lines = gpu_lines(plan_table(two))
    assert lines[0].split() == ["GPU", "KVPR", "memory", "for", "KV", "models"]
    assert lines[1].split()[1] == "1.000"
    assert lines[1].endswith("6.0 GiB  a")
    assert lines[2].split()[1] == "0.5000"
    assert lines[2].endswith("2.0 GiB  b")


def test_models_are_listed_with_what_was_decided_for_them():
    # Two copies of a, TP 2, and b alone: 4 GPUs of a at 1.5 / (10 - 2), one of b at 1 / (10 - 4).
    a = Model(
        "a", 4 * GIB, Demand(6.0, 100.0, 0.0), SLO(latency_seconds=1.0), overhead_bytes=0,
        tensor_parallel=(2,), replicas=Replicas(2, 2),
    )  # fmt: skip
    b = Model("b", 4 * GIB, Demand(1.0), SLO(latency_seconds=1.0), overhead_bytes=0)
    gpus = tuple(GPU(f"n/{i}", "G", 10 * GIB) for i in range(6))
    result = solve(Problem((a, b), Fleet((Node("n", gpus),))))
    lines = plan_table(result, Look(100)).splitlines()
    assert lines[0].split() == ["model", "replicas", "KVPR", "on"]
    assert lines[1].split()[:6] == ["a", "2", "x", "TP", "2", "0.1875"]
    assert lines[2].split()[:3] == ["b", "1", "0.1667"]
    assert sum("1 idle GPU: n/" in line for line in lines) == 1
    assert len(gpu_lines(plan_table(result, Look(100)))) >= 3  # GPUs that are alike share a row


def test_a_narrow_terminal_gets_whole_lines(two):
    assert all(cell_len(line) <= 60 for line in plan_table(two, Look(60)).splitlines()[:-1])


def test_overload_fills_the_bar_whatever_else_is_worse():
    # 12 GiB in use of 4 GiB: 300 %; and a GPU at 10 % stays at one cell.
    problem = problem_of([("a", 6, 12.0), ("b", 6, 0.4)], [10, 10], Objective.OCCUPANCY)
    lines = gpu_lines(plan_table(solve(problem)))
    assert lines[1].split()[1:4] == ["300", "%", "████████"]
    assert lines[2].split()[1:4] == ["10.0", "%", "█"]


def test_a_small_kvpr_is_shown_whole():
    result = solve(problem_of([("a", 4, 0.03), ("b", 8, 0.00001)], [10, 10]))
    lines = gpu_lines(plan_table(result))
    assert [line.split()[1] for line in lines[1:3]] == ["0.005000", "5e-06"]
    assert lines[0].index("models") == lines[1].rindex("a") == lines[2].rindex("b")
    assert all(cell_len(line) <= 80 for line in lines[:-1])


def test_the_closing_line_says_what_is_proved_and_how(two):
    last = plan_table(two).splitlines()[-1]
    assert last.startswith(
        "max KVPR 1.000 1/(s² GiB) (optimal to the last GPU, proved by single-model certificate), "
        "2 models on 2 GPUs, "
    )
    assert last.endswith(" s")


def test_a_gap_is_shown_where_nothing_is_proved_optimal():
    # All three on n/0: 18 / (20 - 12) = 2.25. Fluid bound: 18 / (30 - 12) = 1.
    problem = problem_of([("a", 4, 6.0), ("b", 4, 6.0), ("c", 4, 6.0)], [20, 10])
    placement = Placement.single({"a": "n/0", "b": "n/0", "c": "n/0"})
    told = (Stop.TIME_LIMIT, "auto", 0, 7, 12.3456)
    result = Result(problem, placement, evaluate(problem, placement), Bound(1.0, "fluid"), *told)
    assert summary(result) == (
        "max KVPR 2.250 1/(s² GiB) (bound 1.000, gap 125.0 %), 3 models on 1 of 2 GPUs, "
        "12.35 s, stopped by the time limit"
    )


def test_an_optimum_whose_rest_was_cut_says_so(two):
    cut = replace(two, stop=Stop.INTERRUPTED)
    assert summary(cut).endswith(" s, balancing the other GPUs was interrupted")


def test_occupancy_is_also_a_percentage_with_its_bar():
    # 1 request/s for 1 s holding 100 tokens = 1 GiB (rounded down per token) of 10 - 6 = 4 GiB.
    problem = problem_of([("a", 6, 1.0)], [10], Objective.OCCUPANCY)
    shown = plan_table(solve(problem))
    assert "max KVPR 0.2500 = KV pool 25 % full" in shown
    assert "████████▒░░░░░" in gpu_lines(shown)[1]  # 8 of 14 weights, a quarter of 6 in use
    assert "KV in use on average" in shown


def test_idle_gpus_say_so_and_are_not_counted():
    shown = plan_table(solve(problem_of([("a", 4, 6.0)], [10, 10])))
    assert "1 idle GPU: n/" in shown
    assert "1 model on 1 of 2 GPUs" in shown


def test_large_fleets_show_the_hottest_gpus_and_how_all_are_spread():
    problem = problem_of([(f"m{i}", 1, 1.0 + i / 100) for i in range(100)], [10] * 100)
    result = evaluated(problem, {f"m{i}": f"n/{i}" for i in range(100)})
    short = gpu_lines(plan_table(result))
    assert "88 more GPUs, --all lists them" in short[1 + HOTTEST]
    at = short.index("KVPR of all 100 GPUs")
    assert sum(int(line.split()[3]) for line in short[at + 1 : at + 9]) == 100
    assert sum("n/" in line for line in gpu_lines(plan_table(result, every_gpu=True))) == 100


def test_the_hottest_models_are_found_without_looking_at_all_gpus():
    # On equal pressure the larger part of it comes first, so that all GPUs of one are looked at.
    problem = problem_of([(f"m{i}", 1, 1.0 + i // 4) for i in range(40)], [10] * 20)
    result = evaluated(problem, {f"m{i}": f"n/{i // 2}" for i in range(40)})
    whole, looked = model_rows(result), []
    assert [model_rows(result, most) for most in range(41)] == [whole[:m] for m in range(41)]
    rows = Rows(20, lambda at: looked.append(at) or result.evaluation.gpus[at])
    evaluation = replace(result.evaluation, gpus=rows)
    assert model_rows(replace(result, evaluation=evaluation), 4) == whole[:4]
    assert sorted(looked) == [18, 19]


def test_gpus_that_hold_nothing_are_not_looked_at():
    problem = problem_of([("a", 1, 1.0)], [10] * 1000)
    result = evaluated(problem, {"a": "n/7"})
    looked, gpus = set(), result.evaluation.gpus
    watched = Rows(len(gpus), lambda at: looked.add(at) or gpus[at])
    shown = plan_table(replace(result, evaluation=replace(result.evaluation, gpus=watched)))
    assert "999 idle GPUs: n/0" in shown
    assert looked <= {0, 7}


def test_gpus_that_are_alike_share_a_row():
    problem = problem_of([(f"m{i}", 1, 1.0) for i in range(4)], [10] * 4)
    result = evaluated(problem, {f"m{i}": f"n/{i}" for i in range(4)})
    lines = gpu_lines(plan_table(result))
    assert [line.split()[0] for line in lines[1:5]] == ["n/0", "n/1", "n/2", "n/3"]  # other models


def test_many_models_of_a_gpu_are_cut_unless_all_is_asked_for():
    problem = problem_of([(f"model-number-{i}", 0.1, 1.0) for i in range(30)], [10])
    result = solve(problem)
    assert "more" in plan_table(result)
    whole = plan_table(result, every_gpu=True)
    assert all(f"model-number-{i}" in whole for i in range(30))


HOSTILE = [
    "[red]x[/red]", "[/]", "模型" * 60, "x" * 256, "👩" * 80, "e\u0301" * 50, "org/", "/",
]  # fmt: skip


@pytest.mark.parametrize("width", [20, 60, 80, 120, 300])
@pytest.mark.parametrize("blocks", [True, False])
def test_hostile_names_stay_in_the_table(width, blocks):
    problem = problem_of([(name, 0.5, 1.0) for name in HOSTILE], [10, 10])
    for every_gpu in (True, False):
        shown = plan_table(solve(problem), Look(width, blocks=blocks), every_gpu=every_gpu)
        lines = shown.split("\n")
        assert all(line.isprintable() for line in lines)
        assert all(cell_len(line) <= max(width, 76) for line in lines[:-3])
        assert not blocks or "[red]x[/red]" in shown or width < 80 or not every_gpu


def test_colour_only_where_it_is_welcome(two):
    assert "\x1b" not in plan_table(two, Look(80))
    assert "\x1b[1m" in plan_table(two, Look(80, colour=True))


@pytest.mark.parametrize(
    ("kvpr", "shown"),
    [
        (0.0, "0"), (0.041312, "0.04131"), (0.5, "0.5000"), (1234.0, "1234"), (12345.6, "12,346"),
        (1e-7, "1e-07"), (2.5e9, "2.5e+09"), (float("inf"), "∞"),
    ],
)  # fmt: skip
def test_format_kvpr(kvpr, shown):
    assert format_kvpr(kvpr) == shown


def test_models_that_fit_nowhere_are_named_with_the_reason():
    result = solve(problem_of([("a", 12, 1.0), ("b", 1, 1.0)], [10, 8]))
    assert reasons(result) == [
        (
            "'a' needs 12.0 GiB with overhead; the largest GPU has 10.0 GiB usable; "
            "with tensor_parallel: 2 a copy fits, 6.0 GiB on each GPU"
        )
    ]
    assert summary(result).startswith(
        "infeasible: no placement of 2 models on 2 GPUs fits, which is proved, 0.0"
    )


def test_rules_that_counting_shows_to_be_never_kept_are_named():
    problem = problem_of([("a", 1, 1.0), ("b", 1, 1.0), ("c", 1, 1.0)], [10, 10])
    apart = Apart(("a", "b", "c"), over="gpu")
    result = solve(replace(problem, rules=(Apart(("a", "b"), over="gpu"), apart)))
    assert reasons(result) == [
        "rules[1] can never be kept, as counting shows: no two of all models share a gpu"
    ]
    kept = replace(problem, rules=(replace(apart, soft=1),))
    assert solve(kept).placement is not None
    assert never_kept(kept) == []


def test_too_little_memory_in_all_is_said():
    result = solve(problem_of([("a", 9, 1.0), ("b", 9, 1.0)], [10]))
    assert reasons(result) == [
        "all models need 18.0 GiB with overhead; all GPUs together have 10.0 GiB usable"
    ]
