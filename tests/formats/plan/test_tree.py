"""A bound by exhaustive search in a plan: written down, read back, checked, and refused damaged."""

import dataclasses
import json
from functools import partial

import pytest

from kvplace.bench.families import family
from kvplace.checking.check import check
from kvplace.core.certificates import tree as trees
from kvplace.core.certificates.claim import ProofTree
from kvplace.core.result import Status
from kvplace.formats.plan import of_result
from kvplace.formats.plan.io import read_plan, write_plan
from kvplace.formats.plan.of_result import plan_of
from kvplace.formats.plan.parquet import plan_bytes
from kvplace.formats.plan.schema import parse_plan
from kvplace.solver.solve import solve


@pytest.fixture(scope="module")
def found():
    (case,) = family("20x60", [2])  # the configuration program alone does not settle it
    return solve(case.problem)


def test_a_search_leaves_a_tree_that_check_verifies(found):
    assert found.status is Status.OPTIMAL
    assert found.proof.method == "search"
    assert isinstance(found.proof.certificate, ProofTree)
    text = write_plan(plan_of(found))
    assert len(text) < 5_000_000
    plan = parse_plan(text)
    assert plan.proof == "proof tree"
    assert plan.tree == plan_of(found).tree
    checked = check(found.problem, plan)
    assert checked.holds
    assert "the bound is proved by the proof tree" in checked.verified


def test_parquet_holds_the_tree_as_well(found, tmp_path):
    path = tmp_path / "plan.parquet"
    path.write_bytes(plan_bytes(found))
    table = read_plan(str(path))
    assert table.head.tree == plan_of(found).tree
    assert check(found.problem, table).holds


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tree: tree["models"].pop(), "each model of the problem once"),
        (lambda tree: tree["nodes"][0]["prices"].pop(), "prices for 60 models"),
        (lambda tree: tree["nodes"].append(tree["nodes"][0]), "no case"),
        (lambda tree: tree["nodes"].clear(), "left open"),
        (lambda tree: tree["nodes"].insert(0, {"model": "x"}), "no choice"),
        (lambda tree: tree.update(threshold=tree["threshold"] * 1.01), "tree"),
        (lambda tree: tree["nodes"][0]["worths"][0].update(worth=1), "priced above its worth"),
        (
            lambda tree: tree["nodes"][0].update(prices=[1] * 60),
            "",  # so much is within the budget that it is too large to check
        ),
    ],
)
def test_a_damaged_tree_is_not_verified(found, change, words, monkeypatch):
    if not words:
        short = partial(trees.check_tree, steps=200_000)  # twenty million take half a minute
        monkeypatch.setattr(trees, "check_tree", short)
    data = json.loads(write_plan(plan_of(found)))
    change(data["tree"])
    checked = check(found.problem, parse_plan(json.dumps(data)))
    assert not checked.holds
    assert not any("the bound is proved" in sentence for sentence in checked.verified)
    told = [*map(str, checked.disagreements), *checked.claimed]
    assert any(words in sentence for sentence in told), told


def test_a_tree_that_is_too_long_is_left_out(found, monkeypatch):
    monkeypatch.setattr(of_result, "TREE_BYTES", 100)
    plan = plan_of(found)
    assert plan.tree is None
    assert plan.proof == "exhaustive search"


def test_a_tree_beside_a_certificate_or_under_another_name_is_wrong(found):
    plan = plan_of(found)
    named = dataclasses.replace(plan, bound_method="fluid")
    assert any(d.path == "objective.bound_method" for d in check(found.problem, named))
