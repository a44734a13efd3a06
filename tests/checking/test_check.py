"""check believes nothing: every number that is changed in a plan is named."""

import copy
import dataclasses
import json
import math
import random

import pytest

from kvplace.checking import claims
from kvplace.checking.check import check
from kvplace.core.certificates.certificate import Bound
from kvplace.core.certificates.knapsack import TooLarge
from kvplace.core.certificates.standing import Standing
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.failure import Failure, Recovery
from kvplace.core.models.launch import EngineName
from kvplace.core.placement import Placement, Replica
from kvplace.core.result import Result, Stop
from kvplace.errors import InputError
from kvplace.explain.repeat import repeat
from kvplace.export.layout import lay_out
from kvplace.formats.plan.io import write_plan
from kvplace.formats.plan.of_result import plan_of
from kvplace.formats.plan.rows import parse_plan_table
from kvplace.formats.plan.schema import parse_plan
from kvplace.formats.read import parse_fleet
from kvplace.solver.bounds.fluid import FluidBound
from kvplace.solver.instance.door import load_instance
from kvplace.solver.instance.options import Chooser
from kvplace.solver.solve import solve
from made import rows_of
from splits import random_split_problem

FLEET = """\
schema: kvplace.fleet/v1
nodes: [{name: n, gpus: 2, gpu: {type: X, memory: 80GiB}}]
models:
  - {name: a, weights: 20GiB, overhead: 0B, demand: {requests_per_second: 6}, slo: {latency: 1s}}
  - {name: b, weights: 30GiB, overhead: 0B, demand: {requests_per_second: 5}, slo: {latency: 1s}}
  - {name: c, weights: 10GiB, overhead: 0B, demand: {requests_per_second: 1}, slo: {latency: 3s}}
"""


@pytest.fixture(scope="module")
def problem():
    return parse_fleet(FLEET)


@pytest.fixture(scope="module")
def plan(problem):
    return plan_of(solve(problem, solver="reference"))


def leaves(data, path=()):
    """Yield the path of every number and text in a plan."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield from leaves(value, (*path, key))
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from leaves(value, (*path, index))
    else:
        yield path


def test_a_true_plan_agrees_and_says_what_was_verified(problem, plan):
    found = check(problem, plan)
    assert found.agrees
    assert list(found) == []
    assert found.verified[:3] == (
        "the plan is for this problem",
        "the placement of 3 models on 2 GPUs is valid",
        "every number of every GPU is right",
    )
    assert found.verified[3] == f"the bound is proved by the certificate ({plan.bound_method})"
    assert found.verified[4].startswith(f"the status {plan.status!r} follows")


def test_the_order_of_the_models_in_the_file_does_not_matter(plan):
    head, _, body = FLEET.partition("models:\n")
    turned = head + "models:\n" + "\n".join(reversed(body.splitlines())) + "\n"
    assert check(parse_fleet(turned), plan).agrees


FREE = {"kvplace_version", "solver", "seed", "iterations", "seconds", "schema", "progress"}
WORDS = {
    "status": "unknown",
    "stop": "infeasible",
    "proof": "none",
    "name": "tokens",
    "bound_method": "counting",
    "method": "counting",
}


def test_every_number_that_is_changed_is_named(problem, plan):
    data = json.loads(write_plan(plan))
    for path in leaves(data):
        if path[0] in FREE or path[:2] == ("certificate", "prices"):
            continue
        changed = copy.deepcopy(data)
        inner = changed
        for step in path[:-1]:
            inner = inner[step]
        old = inner[path[-1]]
        if isinstance(old, str):
            new = WORDS.get(path[-1], old + "x")
        else:
            new = old + 1 if isinstance(old, int) else old * (1 + 1e-9) + 1e-9
        if path[0] == "certificate" and path[-1] == "threshold":
            new = old / 2
        if path[-1] == "worth":
            new = 10 * old + 10**30
        inner[path[-1]] = new
        found = check(problem, parse_plan(json.dumps(changed)))
        assert not found.agrees, (path, old, new)


def test_a_bound_without_a_sound_certificate_is_named(problem, plan):
    certificate = plan.certificate
    for damaged, words in [
        (dataclasses.replace(certificate, prices={**certificate.prices, "z": 1}), "prices 'z'"),
        (dataclasses.replace(certificate, prices={"a": 1}), "no price for 'b'"),
        (dataclasses.replace(certificate, worths=()), "each size of memory"),
        (dataclasses.replace(certificate, prices=dict.fromkeys("abc", 0)), "not above all GPUs"),
    ]:
        found = check(problem, dataclasses.replace(plan, certificate=damaged))
        assert [d.path for d in found] == ["certificate"]
        assert words in found.disagreements[0].message
    bare = dataclasses.replace(plan, certificate=None, proof="none")
    assert any("nothing supports the bound" in d.message for d in check(problem, bare))


def test_json_of_many_models_states_a_rule_that_checks(monkeypatch):
    monkeypatch.setattr("kvplace.formats.plan.of_result.SPELLED_OUT", 0)
    problem = random_split_problem(random.Random(3))
    result = solve(problem, without=("configuration-bound",), time_limit=0)
    bound = FluidBound(Chooser(load_instance(problem))).certified(problem)
    bounded = dataclasses.replace(result, proof=bound)
    plan = plan_of(bounded)
    text = write_plan(plan)
    data = json.loads(text)
    assert data["certificate"] is None
    assert data["rule"]["threshold"] == bound.value
    assert parse_plan(text) == plan
    assert not any(d.path.startswith("certificate") for d in check(problem, parse_plan(text)))
    data["rule"]["threshold"] *= 100
    found = check(problem, parse_plan(json.dumps(data)))
    assert any("does not prove the bound" in d.message for d in found)
    monkeypatch.undo()
    data["certificate"] = json.loads(write_plan(plan_of(bounded)))["certificate"]
    with pytest.raises(InputError, match="is given beside a certificate"):
        parse_plan(json.dumps(data))


def test_an_exhaustive_search_is_told_apart_from_a_certificate(problem, plan, monkeypatch):
    searched = dataclasses.replace(
        plan,
        certificate=None,
        proof="exhaustive search",
        bound_method="search",
        bound=plan.value,
        gap=0.0,
        status="optimal",
    )
    found = check(problem, searched)  # the name of a method is no evidence: all are gone through
    assert found.agrees == (solve(problem).value == plan.value)
    monkeypatch.setattr(claims, "look_for_better", lambda *_: TooLarge("it takes too long"))
    found = check(problem, searched)
    assert found.agrees
    assert not found.holds
    assert len(found.claimed) == 2
    assert "an exhaustive search, which leaves no evidence" in found.claimed[0]
    assert "the status 'optimal'" in found.claimed[1]
    assert not any("bound" in sentence for sentence in found.verified)


def test_evidence_that_is_too_large_is_no_verdict(problem, plan, monkeypatch):
    monkeypatch.setattr(claims, "check_certificate", lambda *_: TooLarge("it takes too long"))
    found = check(problem, plan)
    assert found.agrees
    assert "its certificate is too large to check: it takes too long" in found.claimed[0]


def test_a_soft_rule_broken_needlessly_is_wrong_where_the_plan_says_optimal():
    # b could go to n/0 with nothing lost but the value; no certificate speaks of soft rules.
    soft = FLEET + "rules: [{rule: pin, models: [b], places: {gpus: [n/0]}, soft: 1}]\n"
    soft_problem = parse_fleet(soft)
    gpus = {"a": "n/0", "b": "n/1", "c": "n/0"}
    evaluation = evaluate(soft_problem, Placement.single(gpus))
    bound = Bound(evaluation.value, "search")
    result = Result(
        soft_problem, Placement.single(gpus), evaluation, bound, Stop.OPTIMAL, "auto", 0, 0, 0.0
    )
    stated = dataclasses.replace(plan_of(result), status="optimal")
    found = check(soft_problem, stated)
    assert any("follows" not in d.message and d.path == "status" for d in found)
    older = dataclasses.replace(stated, soft_rules=())
    assert any(
        "breaks the tiers of soft rules by 0" in d.message for d in check(soft_problem, older)
    )


def test_what_is_stated_of_soft_rules_is_checked():
    # The pin to n/9 of two GPUs cannot be kept beside the pin to n/0 of the weightier tier.
    soft = FLEET + (
        "rules: [{rule: pin, models: [b], places: {gpus: [n/0]}, soft: 1},"
        " {rule: forbid, models: [b], places: {gpus: [n/0]}, soft: 2}]\n"
    )
    soft_problem = parse_fleet(soft)
    plan = plan_of(solve(soft_problem))
    assert plan.status == "optimal"
    assert [(t.tier, t.broken, t.bound) for t in plan.soft_rules] == [(1, 0, 0), (2, 1, 1)]
    found = check(soft_problem, plan)
    assert found.holds
    assert any("soft rules cannot be kept better" in sentence for sentence in found.verified)
    first, second = plan.soft_rules
    for damaged, words in [
        ((first,), "the tiers (1,)"),
        ((first, dataclasses.replace(second, broken=0)), "it is (0.0, 1.0)"),
        ((first, dataclasses.replace(second, bound=2)), "above what the placement breaks"),
        ((dataclasses.replace(first, bound=1), second), "above what the placement breaks"),
    ]:
        found = check(soft_problem, dataclasses.replace(plan, soft_rules=damaged))
        assert any(words in d.message for d in found), words
    worse = dataclasses.replace(
        plan, placement=Placement.single({"a": "n/0", "b": "n/1", "c": "n/0"})
    )
    assert not check(soft_problem, worse).agrees


def test_ranks_are_verified_refuted_or_claimed(problem, monkeypatch):
    plan = plan_of(solve(problem))
    assert plan.ranks == 2
    found = check(problem, plan)
    assert found.holds
    assert any("the 2 worst GPUs" in sentence for sentence in found.verified)
    too_many = check(problem, dataclasses.replace(plan, ranks=3))
    assert any("there are 2" in d.message for d in too_many)
    feasible = check(problem, dataclasses.replace(plan, ranks=1, status="feasible"))
    assert any(d.path == "objective.ranks" for d in feasible)
    monkeypatch.setattr(claims, "look_for_better", lambda *_: TooLarge("it takes too long"))
    found = check(problem, plan)
    assert found.agrees
    assert any("the 2 worst GPUs better: it takes too long" in text for text in found.claimed)


def test_a_search_from_scratch_refutes_or_supports_a_claim(problem, plan):
    assert repeat(problem, [Standing((), (plan.value * 2,))]).refuted
    assert repeat(problem, [Standing((math.inf,), ())]).refuted
    assert not repeat(problem, [Standing((), (plan.bound,))]).refuted
    found = evaluate(problem, plan.placement).profile()
    assert not repeat(problem, [Standing((), found)]).refuted
    assert repeat(problem, [Standing((), (found[0], found[1] * 1.01))]).refuted


def test_a_proof_of_the_bound_settles_the_bound_alone(problem, monkeypatch):
    # A search that proved the bound let every other claim pass, such as one of the second rank.
    monkeypatch.setattr(claims, "look_for_better", lambda *_: TooLarge("it takes too long"))
    proved = solve(problem)
    assert proved.proof.certificate is not None
    plan = dataclasses.replace(
        plan_of(proved), bound_method="search", certificate=None, proof="exhaustive search"
    )
    found = check(problem, plan)
    assert [standing.profile[:1] for standing in found.open] == [(plan.bound,), (plan.value,)]
    again = check(problem, plan, proved.proof.certificate)
    assert len(found.claimed) == 3
    assert [words.startswith("that no placement balances") for words in again.claimed] == [True]
    lower = dataclasses.replace(proved.proof.certificate, threshold=plan.bound / 2)
    assert len(check(problem, plan, lower).claimed) == 3


def test_losses_are_only_claimed(problem, plan):
    loss = Failure("n/0", Recovery.RESTORED, 0.0, 0.0, 0)
    found = check(problem, dataclasses.replace(plan, failures=(loss,)))
    assert found.agrees
    assert not found.holds


def test_a_lost_model_and_an_unknown_gpu_are_named(problem, plan):
    lost = Placement((Replica("a", 0, ("n/0",)), Replica("b", 0, ("n/7",))))
    messages = [d.message for d in check(problem, dataclasses.replace(plan, placement=lost))]
    assert "'b' is on 'n/7', which is no GPU of the fleet" in messages
    assert "'c' has 0 replicas placed; it must have 1" in messages


def test_a_plan_for_another_problem_is_named(plan):
    other = parse_fleet(FLEET.replace("30GiB", "31GiB"))
    found = check(other, plan)
    assert found.disagreements[0].path == "problem_digest"
    assert any(d.path.endswith("weights_bytes") for d in found)


def test_a_gpu_left_out_or_given_twice_is_named(problem, plan):
    first, second = plan.gpus
    assert "gpus" in [d.path for d in check(problem, dataclasses.replace(plan, gpus=(first,)))]
    twice = dataclasses.replace(plan, gpus=(first, second, second))
    assert "gpus[2].id" in [d.path for d in check(problem, twice)]


def test_a_table_is_checked_as_far_as_it_goes(problem, plan):
    text = rows_of(solve(problem, solver="reference"))
    assert check(problem, parse_plan_table(text)).agrees
    weights = str(20 * 2**30)
    found = check(problem, parse_plan_table(text.replace(weights, "5")))
    assert [d.path for d in found] == ["rows[0].weights_bytes"]
    assert check(problem, plan.placement).agrees


def test_a_problem_that_cannot_be_placed_has_a_plan_that_agrees():
    problem = parse_fleet(FLEET.replace("20GiB", "90GiB"))
    plan = plan_of(solve(problem, solver="reference"))
    assert plan.status == "infeasible"
    assert check(problem, parse_plan(write_plan(plan))).agrees
    assert not check(problem, dataclasses.replace(plan, status="unknown")).agrees


@pytest.fixture(scope="module")
def kept(problem):
    """A plan whose engines run already: their parts of the KV memory and their names."""
    result = solve(problem, solver="reference")
    layout = lay_out(problem, result.placement)
    engines = {(e.replica.model, e.replica.index): e for e in layout.engines}
    return plan_of(
        dataclasses.replace(
            result,
            kv_parts={key: engine.kv_bytes for key, engine in engines.items()},
            engine_names={key: EngineName(e.label, e.port) for key, e in engines.items()},
        )
    )


def test_what_engines_keep_is_verified_where_it_fits_and_is_told_apart(problem, kept):
    found = check(problem, kept)
    assert found.holds, (list(found), found.claimed)
    assert "the parts of the KV memory that 3 engines keep fit on their GPUs" in found.verified
    assert "the labels and ports that 3 engines keep are told apart" in found.verified


@pytest.mark.parametrize(
    ("field", "at", "change", "said"),
    [
        ("kv_parts", 0, {"kv_bytes": 80 << 30}, "are said to have: exports make "),
        ("kv_parts", 1, {"replica": 1}, "kv_parts[1]: replica 1 of 'b' is not placed"),
        ("kv_parts", 1, {"model": "a"}, "kv_parts[1]: replica 0 of 'a' is not placed, or is list"),
        ("kv_parts", 0, {"kv_bytes": 1}, "exports make 1 of them anew"),
        ("engine_names", 2, {"replica": 7}, "engine_names[2]: replica 7 of 'c' is not placed"),
        ("engine_names", 2, {"label": "a"}, "engine_names[2]: engine_names[0] keeps the label a "),
    ],
)
def test_what_engines_keep_is_not_taken_on_trust(problem, kept, field, at, change, said):
    entries = list(getattr(kept, field))
    entries[at] = dataclasses.replace(entries[at], **change)
    found = check(problem, dataclasses.replace(kept, **{field: tuple(entries)}))
    assert any(said in str(one) for one in (*found, *found.claimed)), (list(found), found.claimed)
    assert not found.holds


def test_no_two_engines_of_a_node_keep_one_port(problem, kept):
    names = [dataclasses.replace(name, port=20001) for name in kept.engine_names]
    found = check(problem, dataclasses.replace(kept, engine_names=tuple(names)))
    assert "engine_names[1]: engine_names[0] keeps the port 20001 of 'n' as well" in map(str, found)
