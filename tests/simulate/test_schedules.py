"""Schedules computed by hand."""

import pytest

from simulate.small import Replicas, model, place, problem, requests, run, seconds, traffic

STEP = seconds(fixed=1.0)


def one(given, memory=1_000_000, times=STEP, **rules):
    """Run one model alone on one GPU."""
    answers, usage = run(
        problem([model("a")], memory=memory), place(("a", 0)), traffic(given), {"a": times}, **rules
    )
    return answers[0], usage[0]


def test_a_request_takes_a_step_per_token():
    found, usage = one(requests((0.5, 10, 3)))
    assert found.first.tolist() == [1.5]
    assert found.finish.tolist() == [3.5]
    assert found.ttft_seconds.tolist() == [1.0]
    assert found.tpot_seconds.tolist() == [1.0]
    assert usage.peak_bytes == 16  # ten prompt tokens and two more: one block
    assert usage.busy == pytest.approx(3 / 3.5)


def test_a_request_that_comes_during_a_step_waits_for_the_next():
    found, _ = one(requests((0.0, 10, 3), (0.5, 10, 2)))
    assert found.first.tolist() == [1.0, 2.0]
    assert found.finish.tolist() == [3.0, 3.0]


def test_host_work_comes_before_each_step():
    found, usage = one(requests((0.0, 10, 2)), host_seconds=0.25, host_seconds_per_sequence=0.25)
    assert found.finish.tolist() == [3.0]
    assert usage.busy == pytest.approx(2 / 3)


def test_prompts_are_cut_to_the_budget_of_a_step():
    # 16, 16 and 8 tokens of the first; the second finds room in the third step.
    found, _ = one(requests((0.0, 40, 2), (0.0, 8, 1)), batched_tokens=16)
    assert found.first.tolist() == [3.0, 3.0]
    assert found.finish.tolist() == [4.0, 3.0]


def test_the_request_admitted_last_gives_way_and_starts_again():
    # The pool holds four blocks of 16 tokens. Both prompts take two. Before the fourth step the
    # first holds 32 tokens, needs a third block and takes it from the second, which has given out
    # two tokens. When the first is done, the second computes 32 tokens again, and needs eight
    # steps for its other eight tokens.
    found, usage = one(requests((0.0, 30, 10), (0.5, 30, 10)), memory=1_000 + 64)
    assert found.first.tolist() == [1.0, 2.0]
    assert found.finish.tolist() == [10.0, 18.0]
    assert found.preempted.tolist() == [0, 1]
    assert usage.peak_bytes == 64
    assert usage.preemptions == 1


def test_a_prompt_that_does_not_fit_whole_is_not_begun():
    # The pool holds four blocks, of which the first has two until its end at 4. A first chunk of
    # the second would fit, its whole prompt does not: 16, 16 and 8 tokens from 4 on.
    found, _ = one(requests((0.0, 30, 3), (0.0, 40, 1)), memory=1_000 + 64, batched_tokens=16)
    assert found.first.tolist() == [2.0, 7.0]
    assert found.finish.tolist() == [4.0, 7.0]
    assert found.preempted.tolist() == [0, 0]


def test_a_request_that_no_pool_can_hold_is_never_begun():
    found, _ = one(requests((0.0, 60, 10), (0.0, 30, 1)), memory=1_000 + 64)
    assert found.too_long.tolist() == [True, False]
    assert found.finish.tolist() == [float("inf"), 1.0]


def two(sharing, times, **rules):
    """Run two models on one GPU, the second half a second later."""
    return run(
        problem([model("a"), model("b")]),
        place(("a", 0), ("b", 0)),
        traffic(requests((0.0, 1, 1)), requests((0.5, 1, 1))),
        {"a": times, "b": times},
        sharing=sharing,
        **rules,
    )[0]


def test_two_engines_on_time_slices_run_at_half_speed():
    # Half of the first step is done when the second begins; each half takes a second from there.
    a, b = two("slice", STEP)
    assert a.finish.tolist() == [1.5]
    assert b.finish.tolist() == [2.0]


def test_without_contention_nobody_notices_the_other():
    a, b = two("none", STEP)
    assert a.finish.tolist() == [1.0]
    assert b.finish.tolist() == [1.5]


def test_side_by_side_what_is_scarce_slows_both_down():
    # Each step reads for 0.8 of its time and keeps the GPU busy in a quarter of the rest: 0.85,
    # together 1.7. The first has 0.5 left and takes 0.85, in which the second does as much; its
    # other half second it has alone.
    a, b = two("mps", seconds(dense=0.8, fixed=0.2))
    assert a.finish == pytest.approx([1.35])
    assert b.finish == pytest.approx([1.85])


def test_side_by_side_a_step_that_reads_gets_what_one_that_computes_leaves():
    # The first computes for 0.9 of its time: it keeps 0.925 busy and goes ahead. The second, which
    # reads all the time, gets the least that is left, 0.2, until 1.0, and then all.
    reads, computes = seconds(dense=1.0), seconds(token=0.9, fixed=0.1)
    (a, b), _ = run(
        problem([model("a"), model("b")]), place(("a", 0), ("b", 0)),
        traffic(requests((0.0, 1, 1)), requests((0.0, 1, 1))), {"a": computes, "b": reads},
        sharing="mps",
    )  # fmt: skip
    assert a.finish == pytest.approx([1.0])
    assert b.finish == pytest.approx([1.8])


def test_a_split_engine_moves_at_its_slowest_gpu():
    # "t" spans both GPUs. Beside it, "s" needs 1 s on GPU 1 and "u" 0.5 s on GPU 0.
    times = {"t": STEP, "s": STEP, "u": seconds(fixed=0.5)}
    models = [model("t", tensor_parallel=(2,)), model("s"), model("u")]
    given = traffic(*(requests((0.0, 1, 1)) for _ in models))
    where = place(("t", 0, 1), ("s", 1), ("u", 0))
    (t, s, u), usage = run(problem(models, 2), where, given, times)
    assert t.finish.tolist() == [2.0]
    assert s.finish.tolist() == [2.0]
    assert u.finish.tolist() == [1.0]
    assert usage[0].peak_bytes == 8 + 16  # half a block of the split engine on each of its GPUs


def test_an_engine_waits_for_memory_that_another_holds():
    # 48 bytes: the first takes two blocks until its end at 3, the second needs two.
    given = traffic(requests((0.0, 30, 3)), requests((0.5, 30, 1)))
    a, b = run(
        problem([model("a"), model("b")], memory=2_000 + 48),
        place(("a", 0), ("b", 0)), given, {"a": STEP, "b": STEP},
    )[0]  # fmt: skip
    assert a.finish.tolist() == [3.0]
    assert b.finish.tolist() == [4.0]


def test_with_static_pools_nobody_waits_for_another():
    given = traffic(requests((0.0, 30, 2)), requests((0.0, 30, 2)))
    a, b = run(
        problem([model("a"), model("b")], memory=2_000 + 64),
        place(("a", 0), ("b", 0)), given, {"a": STEP, "b": STEP}, pool="static",
    )[0]  # fmt: skip
    assert a.finish.tolist() == b.finish.tolist() == [4.0]


def copies(router, *rows):
    """Run two copies of a model on two GPUs; return the engine of each request."""
    fleet = problem([model("a", replicas=Replicas(2, 2))], 2)
    where = place(("a", 0), ("a", 1))
    given = traffic(requests(*rows), seconds=50.0)
    return run(fleet, where, given, {"a": STEP}, router=router)[0][0]


def test_routers():
    rows = [(0.0, 1, 9), (0.1, 1, 1), (3.0, 1, 1), (3.1, 1, 1), (3.2, 1, 1)]
    assert copies("round-robin", *rows).engine.tolist() == [0, 1, 0, 1, 0]
    # At 3 the first copy still runs one request. At 3.2 both have one, and the first is taken.
    assert copies("least-loaded", *rows).engine.tolist() == [0, 1, 1, 0, 1]


def test_the_same_beginning_goes_to_the_same_copy_and_is_not_computed_again():
    shared = [(float(10 * i), 100, 1, i % 2, 64) for i in range(4)]
    found = copies("prefix-sticky", *shared)
    assert found.engine[0] == found.engine[2]
    assert found.engine[1] == found.engine[3]
    times = seconds(token=0.01)
    given = traffic(requests(*shared), seconds=50.0)
    answers = run(problem([model("a")]), place(("a", 0)), given, {"a": times})[0][0]
    assert answers.ttft_seconds == pytest.approx([1.0, 1.0, 0.36, 0.36])
