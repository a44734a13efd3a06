"""What must hold of every simulation: nothing lost, no pool overfull, no time before its time."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvplace.core.evaluation.evaluate import evaluate
from kvplace.forecast.rules import Rules
from kvplace.forecast.times import StepTimes
from kvplace.simulate.run import simulate, simulate_traffic
from kvplace.simulate.served import served
from kvplace.simulate.traffic import Drawn, drawn
from simulate.small import (
    NO_HOST,
    Replicas,
    model,
    place,
    problem,
    requests,
    run,
    seconds,
    traffic,
)


@st.composite
def fleets(draw):
    """A few models on a few GPUs: some split, some in copies, pools that are tight."""
    gpus = draw(st.integers(1, 3))
    count = draw(st.integers(1, 4))
    models, copies, given_requests, times = [], [], [], {}
    for index in range(count):
        name = f"m{index}"
        degree = draw(st.integers(1, gpus))
        number = 1 if degree > 1 else draw(st.integers(1, gpus))
        models.append(model(name, tensor_parallel=(degree,), replicas=Replicas(number, number)))
        for copy in range(number):
            first = draw(st.integers(0, gpus - 1)) if number == 1 else copy
            copies.append((name, *((first + rank) % gpus for rank in range(degree))))
        rows = draw(
            st.lists(
                st.tuples(
                    st.floats(0, 20), st.integers(1, 90), st.integers(1, 30),
                    st.sampled_from([-1, -1, 0, 1]), st.integers(0, 64),
                ),
                max_size=12,
            )
        )  # fmt: skip
        given_requests.append(requests(*sorted(rows)))
        times[name] = seconds(
            fixed=draw(st.sampled_from([0.1, 1.0])),
            token=draw(st.sampled_from([0.0, 0.01])),
            kv_token=draw(st.sampled_from([0.0, 0.001])),
        )
    memory = 1_000 * 4 * count + draw(st.integers(16, 400))
    rules = {
        "sharing": draw(st.sampled_from(["slice", "mps", "none"])),
        "router": draw(st.sampled_from(["least-loaded", "round-robin", "prefix-sticky"])),
        "pool": draw(st.sampled_from(["elastic", "static"])),
        "batched_tokens": draw(st.sampled_from([7, 64, 2048])),
        "max_sequences": draw(st.sampled_from([1, 3, 256])),
        "host_seconds": draw(st.sampled_from([0.0, 0.05])),
    }
    # Long enough that everything ends, however often it starts again.
    return (problem(models, gpus, memory), place(*copies), traffic(*given_requests, seconds=1e6),
            times, rules)  # fmt: skip


@settings(max_examples=75, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(fleets())
def test_nothing_is_lost_and_no_pool_is_overfull(fleet):
    where, placement, asked, times, rules = fleet
    answers, usage = run(where, placement, asked, times, **rules)
    for found, one in zip(answers, asked.models, strict=True):
        served = ~found.too_long
        assert np.isfinite(found.finish[served]).all()
        assert not np.isfinite(found.finish[~served]).any()
        assert (found.engine[served] >= 0).all()
        # A token takes at least a step alone.
        step = 0.1
        assert (found.first[served] >= one.arrival[served] + step - 1e-9).all()
        least = (one.output[served] - 1) * step
        assert (found.finish[served] - found.first[served] >= least - 1e-9).all()
    for gpu, found in zip(problem_pools(where, placement), usage, strict=True):
        assert 0 <= found.peak_bytes <= gpu
        assert 0 <= found.mean_bytes <= found.peak_bytes + 1e-6
        assert 0 <= found.busy <= 1 + 1e-9


def problem_pools(where, placement):
    return [gpu.free_bytes for gpu in evaluate(where, placement).gpus]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(fleets())
def test_the_answer_is_the_same_on_any_number_of_threads(fleet):
    where, placement, asked, times, rules = fleet
    measured = StepTimes({(name, ""): one for name, one in times.items()})

    def found(threads):
        answers, usage = simulate_traffic(
            where, placement, asked, rules=Rules(**{**NO_HOST, **rules}), times=measured,
            threads=threads,
        )  # fmt: skip
        return [(one.first.tolist(), one.finish.tolist()) for one in answers], usage

    assert found(1) == found(4)


def test_many_engines_on_slices_are_a_processor_sharing_queue():
    # Each of 200 engines is nearly always alone with its request, and k busy engines run at 1/k:
    # M/G/1 with processor sharing. E[T] = E[S] / (1 - load).
    count, load, step = 200, 0.6, 0.1
    names = [f"m{i}" for i in range(count)]
    models = [model(name) for name in names]
    fleet = problem(models, memory=10**9)
    rate = load / (step * 10) / count
    asked = drawn(models, 40_000.0, load=rate)
    times = dict.fromkeys(names, seconds(fixed=step))
    answers, usage = run(fleet, place(*((name, 0) for name in names)), asked, times)
    service = np.concatenate([one.output * step for one in asked.models])
    found = np.concatenate([one.finish - one.arrival for one in answers])
    utilisation = service.sum() / asked.seconds
    expected = service.mean() / (1 - utilisation)
    # Requests that meet in one engine share its steps, which is faster than the formula.
    assert found.mean() == pytest.approx(expected, rel=0.04)
    assert usage[0].busy == pytest.approx(utilisation, rel=0.03)


def test_higher_loads_are_the_same_requests_in_less_time():
    one = model("a")
    slow, fast = drawn([one], 50.0, load=1.0).models[0], drawn([one], 50.0, load=2.0).models[0]
    count = len(slow.arrival)
    assert len(fast.arrival) > count
    assert fast.arrival[:count] == pytest.approx(slow.arrival / 2)
    assert (fast.output[:count] == slow.output).all()
    assert len(slow.arrival) == pytest.approx(50, abs=25)


@pytest.mark.parametrize("burst", [0.0, 0.5, 1.0, 3.0])
def test_gaps_have_the_mean_and_the_variation_asked_for(burst):
    gaps = np.diff(drawn([model("a")], 20_000.0, burst=burst).models[0].arrival)
    assert gaps.mean() == pytest.approx(1.0, rel=0.1)
    assert gaps.std() == pytest.approx(burst, rel=0.15, abs=1e-9)


def test_load_lowers_attainment_and_the_whole_is_the_sum_of_its_parts():
    models = [model("a"), model("b", replicas=Replicas(2, 2))]
    fleet = problem(models, 2, memory=10_000)
    found = simulate(
        fleet,
        place(("a", 0), ("b", 0), ("b", 1)),
        loads=(0.1, 1.0, 4.0),
        seeds=(0, 1),
        seconds=200,
        times=StepTimes({("a", ""): seconds(fixed=0.2), ("b", ""): seconds(fixed=0.2)}),
    )
    assert found.complete
    assert len(found.outcomes) == 6
    levels = [found.attainment(load) for load in found.loads()]
    assert levels == sorted(levels, reverse=True)
    for outcome in found.outcomes:
        assert sum(model.kept for model in outcome.models) == sum(g.kept for g in outcome.gpus)


def test_a_lower_load_is_played_for_as_many_requests_as_the_stated_one():
    one, slow = model("a"), {("a", ""): seconds(fixed=2.0)}
    fleet, where = problem([one], memory=10_000), place(("a", 0))
    found = served(fleet, where, seconds=100.0, times=StepTimes(slow))
    counts = {o.load: o.requests for o in found.simulation.outcomes}
    assert min(counts) < 0.1
    assert max(counts.values()) - min(counts.values()) <= 15
    assert found.simulation.seconds == 100.0
    # A stretch that somebody asks for is as long as asked for.
    assert len(Drawn([one], 100.0)(0.1, 0).models[0].arrival) < 30
