"""The public names: complete, sorted, lazy, and what they say they are."""

import inspect
import math
import pickle
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import get_args, get_type_hints

import pytest

import kvplace
from kvplace.arguments import _wrong

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def fresh(code):
    """Run code in a process of its own and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


def test_names_are_sorted_and_unique():
    # Constants, then classes, then functions, each by name: the order that ruff keeps as well.
    names = kvplace.__all__
    assert names == sorted(
        set(names), key=lambda n: (0 if n.isupper() else 1 if n[0].isupper() else 2, n)
    )


@pytest.mark.parametrize("name", kvplace.__all__)
def test_every_public_name_is_there_documented_and_no_module(name):
    thing = getattr(kvplace, name)
    assert not inspect.ismodule(thing)
    assert thing.__doc__
    assert thing.__name__ == name


def test_the_lazy_table_is_the_public_list():
    assert sorted(kvplace._HOME) == sorted(kvplace.__all__)
    assert set(kvplace.__all__) <= set(dir(kvplace))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'sovle'"):
        _ = kvplace.sovle


def test_verbs_stay_functions_once_their_modules_are_imported():
    code = (
        "import kvplace.checking.check, kvplace.formats.read, kvplace.solver.solve, "
        "kvplace.solver.improve.moves_and_swaps, kvplace.core.evaluation.evaluate, "
        "kvplace.cli.planning.check, kvplace.cli.planning.refine, kvplace; "
        "print(all(callable(getattr(kvplace, n)) for n in "
        "('check', 'evaluate', 'read', 'refine', 'solve')))"
    )
    assert fresh(code) == "True"


def test_import_loads_nothing_heavy():
    heavy = "{'numpy', 'numba', 'pydantic', 'yaml', 'click', 'rich', 'highspy', 'dataclasses'}"
    assert fresh(f"import sys, kvplace; print(sorted({heavy} & set(sys.modules)))") == "[]"
    heavy = "{'numpy', 'numba', 'pydantic', 'yaml', 'rich', 'highspy'}"
    code = f"import sys, kvplace.cli.main; print(sorted({heavy} & set(sys.modules)))"
    assert fresh(code) == "[]"
    code = f"import sys, kvplace; kvplace.evaluate; print(sorted({heavy} & set(sys.modules)))"
    assert fresh(code) == "[]"


def test_the_version_is_the_distribution_s():
    assert version("kvplace") == kvplace.__version__


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda p, _: kvplace.solve(p, time_limit=-1), "a time limit must be at least 0"),
        (lambda p, _: kvplace.solve(p, time_limit=math.nan), "a time limit must be at least 0"),
        (lambda *_: kvplace.Replica("a", -1, ("n/0",)), "copy -1 of 'a': copies are numbered from"),
        (lambda *_: kvplace.Replica("a", 2**63, ("n/0",)), "from 0, and below 1,000,000"),
        (lambda p, _: kvplace.solve(p, gap=math.nan), "gap must be at least 0, not nan"),
        (lambda p, _: kvplace.solve(p, seed=-1), "seed must be at least 0, not -1"),
        (lambda p, _: kvplace.solve(p, iterations=-1), "iterations must be at least 0, not -1"),
        (lambda p, q: kvplace.refine(p, q, iterations=-1), "iterations must be at least 0"),
        (lambda p, q: kvplace.simulate(p, q, loads=[1.0, -1.0]), "a load must be above 0"),
        (lambda p, q: kvplace.simulate(p, q, loads=[math.inf]), "a load must be above 0"),
        (lambda p, q: kvplace.simulate(p, q, seconds=-1), "the time must be above 0"),
        (lambda p, q: kvplace.simulate(p, q, burst=-1.0), "the burst factor from 0"),
        (lambda p, q: kvplace.simulate(p, q, seeds=[3, -1]), "a seed must be at least 0, not -1"),
        (lambda p, q: kvplace.served(p, q, burst=-1.0), "the burst factor from 0"),
        (lambda p, q: kvplace.served(p, q, threads=-1), "threads must be at least 1, not -1"),
        (lambda p, q: kvplace.simulate(p, q, threads=math.nan), "threads must be a whole number"),
        (lambda p, _: kvplace.solve(p, seed=1.5), "seed must be a whole number of at least 0"),
        (lambda p, _: kvplace.solve_robust(p, 2.0, most=-1), "most must be at least 1, not -1"),
        (lambda p, _: kvplace.size_fleet(kvplace.stock_of(p), 1e-320), "the target must be above"),
        (lambda *_: kvplace.read({}, gpus="8xH100"), "a fleet file names its GPUs itself"),
        (lambda *_: kvplace.demand("a" * 5000 + ".csv"), "there is no such file"),
        (
            lambda p, q: kvplace.write_plan(kvplace.plan_of(kvplace.solve(p, start=q)), "p.json"),
            "p.json: a file is written from a result",
        ),
        (
            lambda p, q: kvplace.propose(
                kvplace.replan(p, q), NOW.replace(tzinfo=None), timedelta(1)
            ),
            "names no time zone",
        ),
        (
            lambda p, q: kvplace.propose(kvplace.replan(p, q), NOW, timedelta.max),
            "valid_for must be from 0 to 100,000 days",
        ),
        (lambda p, q: kvplace.served(p, q, level=2), "the level must be above 0 and up to 1"),
        (lambda p, _: kvplace.size_fleet(kvplace.stock_of(p), math.nan), "the target must be"),
        (lambda p, _: kvplace.size_fleet(kvplace.stock_of(p), -1), "the target must be above 0"),
        (
            lambda p, _: kvplace.size_fleet(kvplace.stock_of(p), 1.0, growths=[0.0]),
            "the growth must be above 0",
        ),
    ],
)
def test_numbers_that_mean_nothing_are_refused(call, told):
    problem = kvplace.read(
        {"schema": "kvplace.fleet/v1", "nodes": "1xH100", "models": [{"model": "Qwen/Qwen3-8B"}]}
    )
    placement = kvplace.Placement.single({"Qwen/Qwen3-8B": "H100/0"})
    with pytest.raises(kvplace.InputError, match=told):
        call(problem, placement)


def test_a_limit_beyond_all_floats_is_none():
    problem = kvplace.read(
        {"schema": "kvplace.fleet/v1", "nodes": "1xH100", "models": [{"model": "Qwen/Qwen3-8B"}]}
    )
    assert kvplace.solve(problem, time_limit=10**400).status is kvplace.Status.OPTIMAL


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (
            lambda _p, _q: kvplace.solve("fleet.yaml"),
            r"solve: problem must be of type Problem, not str; kvplace.read\(PATH\) makes one",
        ),
        (
            lambda p, q: kvplace.evaluate(p, kvplace.solve(p, start=q)),
            "placement must be of type Placement, not Result; a Result has one as .placement",
        ),
        (
            lambda p, _q: kvplace.replan(p, "plan.json"),
            "current must be of type Placement or Result, not str",
        ),
        (lambda p, _q: kvplace.forecast(p), "a problem alone does not say what runs where"),
        (lambda p, _q: kvplace.refine(p), "or the Result that kvplace.solve.problem. returns"),
        (
            lambda p, q: kvplace.check(q, p),
            r"type Problem, not Placement;.*\n.*plan must be of type Plan or PlanTable",
        ),
        (
            lambda p, _q: kvplace.stock_of(p, "8xH100"),
            "stock_of: nodes must be of type Sequence, not str",
        ),
        (lambda _p, _q: kvplace.read(5), "path must be of type str or PathLike or Mapping"),
        (lambda p, _q: kvplace.solve(p, seed="1"), "seed must be of type int, not str"),
        (lambda p, q: kvplace.served(p, q, burst="x"), "burst must be of type float, not str"),
        (lambda p, _q: kvplace.stock_of(p, ["n"]), "nodes must hold Node, not str"),
        (lambda p, _q: kvplace.stock_of(p, range(2)), "nodes must hold Node, not int"),
        (lambda p, _q: kvplace.stock_of(p, b"n"), "nodes must be of type Sequence, not bytes"),
        (
            lambda p, _q: kvplace.size_fleet(kvplace.stock_of(p), 10**400),
            "target must be a number below 1.8e",
        ),
    ],
)
def test_arguments_of_a_wrong_type_are_named_with_the_way_out(call, told):
    problem = kvplace.read(
        {"schema": "kvplace.fleet/v1", "nodes": "1xH100", "models": [{"model": "Qwen/Qwen3-8B"}]}
    )
    placement = kvplace.Placement.single({"Qwen/Qwen3-8B": "H100/0"})
    with pytest.raises(TypeError, match=told):
        call(problem, placement)


def test_a_result_stands_for_its_problem_and_its_placement():
    asked = {"requests_per_second": 1, "prompt_tokens": 100, "output_tokens": 50}
    names = ("Qwen/Qwen3-8B", "Qwen/Qwen3-14B", "Qwen/Qwen3-4B")
    models = [{"model": n, "demand": asked, "slo": {"ttft": "1s", "tpot": "50ms"}} for n in names]
    fleet = {"schema": "kvplace.fleet/v1", "nodes": "1x2xH100", "models": models}
    problem = kvplace.read(fleet)
    result = kvplace.solve(problem, solver="prism-greedy")
    where = result.placement
    assert kvplace.forecast(result) == kvplace.forecast(problem, where)
    assert kvplace.forecast(result, load=1.5) == kvplace.forecast(problem, result, load=1.5)
    brief = {"seconds": 1.0, "seeds": (3,)}
    assert kvplace.simulate(result, **brief) == kvplace.simulate(problem, where, **brief)
    assert kvplace.served(result, level=0.1, **brief).load > 0
    refined = kvplace.refine(problem, where, iterations=3)
    assert kvplace.refine(result, iterations=3).placement == refined.placement
    assert kvplace.solve(problem, start=result, iterations=0).value <= result.value
    assert kvplace.check(problem, result).agrees
    busiest = kvplace.Budget(moves=1)
    moved = kvplace.replan(result, budget=busiest)
    assert moved.current == where
    assert kvplace.replan(problem, result, budget=busiest).placement == moved.placement
    assert kvplace.watch(result, now=0.0).replan.current == where
    assert kvplace.explain(result, time_limit=1).given == result.evaluation


INSIDE = {
    "DemandWindows": "what kvplace demand --windows chose, of demand.windows",
    "Engines": "what an export knows of processes",
    "Params": "every knob of the search, which change with it",
}
"""Classes that public functions take and that are not public, with the reason."""


def named(hint):
    """Yield the classes of kvplace that a type names."""
    held = get_args(hint)
    if inspect.isclass(hint) and not held and hint.__module__.startswith("kvplace"):
        yield hint.__name__
    for inner in held:
        for one in inner if isinstance(inner, list) else [inner]:
            yield from named(one)


def test_what_public_functions_take_and_return_is_public():
    known = {name: getattr(kvplace, name) for name in kvplace.__all__}  # some for checkers alone
    found = {
        name
        for function in filter(inspect.isfunction, known.values())
        for hint in get_type_hints(function.__wrapped__, localns=known).values()
        for name in named(hint)
    }
    assert found - set(kvplace.__all__) == set(INSIDE)


def test_what_functions_return_is_told_in_one_line():
    problem = kvplace.read("examples/open-models.yaml")
    result = kvplace.solve(problem, solver="prism-greedy")
    moved = kvplace.replan(result, budget=kvplace.Budget(moves=1), compare=False)
    nowhere = kvplace.evaluate(problem, kvplace.Placement(()))
    answers = {
        "<Problem: 16 models on 8 GPUs": problem,
        "<Result feasible: 16 models on 8 GPUs, value 0.": result,
        "<Placement: 16 replicas on 8 GPUs>": result.placement,
        "Placement(replicas=())": kvplace.Placement(()),
        "<Evaluation valid: max pressure 0.": result.evaluation,
        "<Evaluation not valid, ": nowhere,
        "<Forecast at load 1: ": kvplace.forecast(result),
        "<Check: 0 wrong, ": kvplace.check(problem, result),
        "<Differences: 0 changes, max pressure 0.": kvplace.diff(result, result),
        "<Export: ": kvplace.export(result, "compose"),
        "<Plan feasible: 16 replicas on 8 GPUs, value 0.": kvplace.plan_of(result),
        "<Replan: 1 change, max pressure 0.": moved,
        "<Explanation: 0 levers, of <Result ": kvplace.explain(result, time_limit=0),
    }
    for begin, answer in answers.items():
        assert repr(answer).startswith(begin)
        assert len(repr(answer)) < 250


def test_files_are_written_where_a_path_is_given(tmp_path):
    fleet = {
        "schema": "kvplace.fleet/v1",
        "nodes": "1xH100",
        "models": [{"model": "Qwen/Qwen3-8B"}],
    }
    problem = kvplace.read(fleet)
    path = tmp_path / "fleet.yaml"
    assert kvplace.write_fleet(problem, path) == path.read_text() == kvplace.write_fleet(problem)
    assert kvplace.read(path) == problem
    result = kvplace.solve(problem)
    proposal = kvplace.propose(kvplace.replan(problem, kvplace.Placement(())))
    path = tmp_path / "proposal.json"
    assert kvplace.write_proposal(proposal, path) == path.read_text()
    again = kvplace.read_proposal(path)
    assert again == proposal
    assert kvplace.verify(again, kvplace.Placement(())).verdict == "ready"
    assert kvplace.verify(again, result).verdict == "done"
    seen = kvplace.Observation(schema="kvplace.observation/v1", engines=())
    assert kvplace.write_observation(seen, tmp_path / "o.json")
    assert kvplace.read_observation(tmp_path / "o.json") == seen


def test_a_re_plan_without_a_placement_proposes_nothing():
    model = {"model": "Qwen/Qwen3-8B", "tensor_parallel": 1}
    fleet = {"schema": "kvplace.fleet/v1", "nodes": "1x1GiB", "models": [model]}
    found = kvplace.replan(kvplace.read(fleet), kvplace.Placement(()))
    with pytest.raises(kvplace.InputError, match="found no placement, so there is nothing to prop"):
        kvplace.propose(found)


def test_strategies_are_named_by_words(tmp_path):
    assert kvplace.Strategy("budget", moves=3).way == "budget"
    with pytest.raises(kvplace.InputError, match=r"Strategy.way: must be one of never, peak"):
        kvplace.Strategy("sometimes")


@pytest.mark.parametrize("limit", ["0s", 0])
def test_every_time_limit_may_be_text(limit):
    asked = {"requests_per_second": 1, "prompt_tokens": 100, "output_tokens": 50}
    model = {"model": "Qwen/Qwen3-8B", "demand": asked, "slo": {"ttft": "1s", "tpot": "50ms"}}
    problem = kvplace.read({"schema": "kvplace.fleet/v1", "nodes": "1xH100", "models": [model]})
    where = kvplace.Placement.single({"Qwen/Qwen3-8B": "H100/0"})
    for call in (kvplace.solve, kvplace.explain, kvplace.solve_fewer):
        assert call(problem, time_limit=limit)
    assert kvplace.solve_robust(problem, 1.5, time_limit=limit)
    assert kvplace.size_fleet(kvplace.stock_of(problem), 1.0, time_limit=limit)
    assert kvplace.refine(problem, where, time_limit=limit)
    assert kvplace.watch(problem, where, time_limit=limit)


def test_a_result_that_places_nothing_cannot_run_but_can_be_explained():
    model = {"model": "Qwen/Qwen3-8B", "tensor_parallel": 1}
    fleet = {"schema": "kvplace.fleet/v1", "nodes": "1x1GiB", "models": [model]}
    nowhere = kvplace.solve(kvplace.read(fleet))
    for call in (kvplace.forecast, kvplace.simulate, kvplace.replan, kvplace.refine):
        with pytest.raises(kvplace.InputError, match="this plan places nothing"):
            call(nowhere)
    assert kvplace.explain(nowhere).clash is not None


def test_a_function_that_fails_by_itself_says_what_it_said():
    problem = kvplace.read(
        {"schema": "kvplace.fleet/v1", "nodes": "1xH100", "models": [{"model": "Qwen/Qwen3-8B"}]}
    )
    with pytest.raises(TypeError, match="unexpected keyword argument 'sead'"):
        kvplace.solve(problem, sead=1)
    placement = kvplace.Placement.single({"Qwen/Qwen3-8B": "H100/0"})
    with pytest.raises(AttributeError, match="'NoneType' object has no attribute"):
        kvplace.served(problem, placement, traffic=lambda _load, _seed: None)


@pytest.mark.parametrize("name", [name for name in kvplace.__all__ if name[0].islower()])
def test_every_public_function_can_tell_what_it_was_given(name):
    """Each argument, in the place of which something stands that is of no use."""
    function = getattr(kvplace, name)
    given = dict.fromkeys(inspect.signature(function).parameters, object())
    for line in _wrong(function.__wrapped__, (), given):
        assert line.startswith(f"{name}: ")
        assert ", not object" in line


def test_public_functions_can_be_sent_to_other_processes():
    assert pickle.loads(pickle.dumps(kvplace.solve)) is kvplace.solve
