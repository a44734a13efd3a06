"""Cases over options and link domains: what they prove is so by brute force, and checks."""

import random
from collections import Counter
from dataclasses import replace

import pytest

from kvplace.core.certificates.certificate import check_certificate
from kvplace.core.certificates.claim import Choice, Leaf
from kvplace.core.models.objective import Objective
from kvplace.solver.assignment.assignment import Assignment
from kvplace.solver.bounds.option_prices import bound_by_cases
from kvplace.solver.clock import Watch
from kvplace.solver.column_generation.option_sets import OptionSets
from kvplace.solver.exact.close_gap import Effort
from kvplace.solver.exact.domain_tree import DomainTree, _Node, narrow_by_cases
from kvplace.solver.instance.door import load_copies, load_instance
from kvplace.solver.solve import solve
from oracle_splits import solve_by_force
from seeds import seeds
from splits import OBJECTIVES, random_split_problem

DAMAGES = 20
"""Damaged trees made of each, some 1,500 of one seed."""


def drawn(seed, number):
    """Yield problems without rules that are not undivided, each with its least pressure."""
    draw = random.Random(f"domains/{seed}")
    for _ in range(number):
        problem = random_split_problem(draw, 4, (Objective.PRESSURE, *OBJECTIVES))
        models = tuple(replace(model, resources={}) for model in problem.models)
        problem = replace(problem, models=models, rules=())
        if problem.plain:
            continue
        truth = solve_by_force(problem)
        if truth.feasible and truth.value:
            yield problem, truth.value


def forced(draw, tree, target, case=None, depth=0):
    """Return a proof that begins with choices drawn at random, None where a case is not closed."""
    node = _Node(tree, target, case, None)
    found, closed = None, None
    if depth >= 3 or (depth and draw.random() < 0.4):
        found, closed = node.decide(Effort(), Watch())
        if found is not None or closed is None or depth > 12:
            return None
        if not isinstance(closed, Choice):
            return [closed]
    choice = closed
    if choice is None:
        instance = node.program.instance
        j = draw.randrange(instance.n)
        start, end = instance.starts[j], instance.starts[j + 1]
        rows = draw.sample(range(start, end), draw.randint(1, end - start))
        several = any(instance.copies[row] > 1 for row in rows)
        names = tree.domains.names
        domains = () if several else draw.sample(names, draw.randint(1, len(names)))
        options = tuple(row - start for row in rows)
        choice = Choice(instance.model_index[j], options, tuple(domains))
    proofs = [forced(draw, tree, target, of, depth + 1) for of in tree.domains.cases(case, choice)]
    return None if None in proofs else [choice, *proofs[0], *proofs[1]]


@pytest.mark.parametrize("seed", seeds(1, 2))
def test_targets_are_decided_as_brute_force_does(seed):
    draw, seen = random.Random(seed), Counter()
    for problem, best in drawn(seed, 30):
        program = OptionSets(load_instance(problem))
        tree = DomainTree(problem, program)
        for part in (0.5, 0.95, 1 - 1e-6, 1 + 1e-6):
            target = best * part
            found, proof = tree.run(target, Effort(targets=200), Watch())
            if found is not None:
                assert found.valid
                assert found.worst() >= best * (1 - 1e-9)
                seen["found"] += 1
            for of in (proof, forced(draw, tree, target)):
                if not of:
                    continue
                bound = bound_by_cases(problem, program, target, of, Watch())
                seen["checked" if bound else "unchecked"] += 1
                if bound is not None:
                    assert bound.value <= best * (1 + 1e-9)
                    for damaged in damages(draw, bound.certificate, best):
                        verified = not check_certificate(problem, damaged)
                        seen["verified" if verified else "rejected"] += 1
                        assert not verified or damaged.threshold <= best * (1 + 1e-9)
    assert seen["found"] > 10
    assert seen["checked"] > 20
    assert seen["unchecked"] * 10 <= seen["checked"]
    assert seen["rejected"] > 500


def test_a_target_goes_on_from_where_it_was():
    seen = Counter()
    for problem, best in drawn("turns", 12):
        program = OptionSets(load_instance(problem))
        for target in (best * (1 - 1e-6), best * (1 + 1e-6)):
            tree, cases, found, proof = DomainTree(problem, program), 0, None, []
            while found is None and not proof and cases < 200 and tree.open(target, Effort()):
                cases += 1
                found, proof = tree.run(target, Effort(targets=cases), Watch())
            at_once = DomainTree(problem, program).run(target, Effort(targets=200), Watch())
            assert (found is None, bool(proof)) == (at_once[0] is None, bool(at_once[1]))
            if proof and bound_by_cases(problem, program, target, proof, Watch()) is not None:
                seen["proved"] += 1
            seen["found"] += found is not None
            seen["several"] += cases > 1
            if found is not None or proof:
                assert not tree.open(target, Effort(targets=200))
    assert seen["proved"] >= 2
    assert seen["found"] >= 3
    assert seen["several"] >= 3


class Stepped(Watch):
    """A clock that goes on only where a test says so."""

    now = 0.0

    @property
    def seconds(self):
        return self.now


def test_no_target_is_asked_whose_proof_could_not_be_checked_in_time():
    seen = 0
    for problem, best in drawn("late", 10):
        instance, watch, asked = load_instance(problem), Stepped(100.0), []
        start = solve(problem, solver="reference").placement
        if start is None:
            continue
        program = OptionSets(instance)

        def prove(target, tree, problem=problem, program=program, watch=watch, asked=asked):
            asked.append(target)
            watch.now += 60.0
            return bound_by_cases(problem, program, target, tree, Watch())

        board = Assignment(instance, load_copies(problem, instance, start))
        tree = DomainTree(problem, program)
        narrow_by_cases(tree, board, best / 2, Effort(), watch, prove)
        assert len(asked) <= 1
        seen += len(asked)
    assert seen >= 2


def damages(draw, tree, best):
    """Yield trees that are damaged in one place, most of which claim what is not so."""
    for number in range(DAMAGES):
        nodes = list(tree.nodes)
        at = draw.randrange(len(nodes))
        node, other = nodes[at], draw.choice(nodes)
        kind = draw.randrange(6)
        if kind == 0:
            del nodes[at]
        elif kind == 1:
            nodes[at] = other
        elif kind == 2:
            nodes.insert(at, other)
        elif isinstance(node, Choice):
            other_options = tuple(draw.sample(range(4), draw.randint(0, 3)))
            nodes[at] = draw.choice(
                [
                    node._replace(model=draw.randrange(-1, 5)),
                    node._replace(options=other_options),
                    node._replace(domains=()),
                    node._replace(domains=(*node.domains, "nowhere")),
                    node._replace(domains=node.domains[1:]),
                ]
            )
        else:
            scaled = [draw.choice([0, 1, 2, 3]) for _ in node.prices]
            worths = tuple((memory, worth * draw.randint(0, 1)) for memory, worth in node.worths)
            nodes[at] = draw.choice(
                [
                    node._replace(
                        prices=tuple(p * s for p, s in zip(node.prices, scaled, strict=True))
                    ),
                    node._replace(worths=worths),
                    node._replace(worths=node.worths[::-1], types=node.types[::-1]),
                    node._replace(worths=node.worths[1:], types=node.types[1:]),
                    node._replace(weights=node.weights[::-1]),
                    Leaf((1.5,) * len(node.prices), node.worths, node.weights, node.types),
                ]
            )
        # Above the optimum nothing may be verified, whatever has been changed.
        threshold = tree.threshold if number % 4 == 0 else best * (1 + 10 ** -draw.uniform(1, 8))
        yield replace(tree, threshold=threshold, nodes=tuple(nodes))
    yield replace(tree, threshold=best * 1.000001)


def test_both_sides_of_a_gap_come_nearer():
    seen = Counter()
    for problem, best in drawn("both", 15):
        instance = load_instance(problem)
        start = solve(problem, solver="reference")
        if start.placement is None:
            continue
        program = OptionSets(instance)

        def prove(target, tree, problem=problem, program=program):
            return bound_by_cases(problem, program, target, tree, Watch())

        board = Assignment(instance, load_copies(problem, instance, start.placement))
        tree = DomainTree(problem, program)
        found, bound = narrow_by_cases(tree, board, best / 2, Effort(), Watch(), prove)
        assert found.worst() >= best * (1 - 1e-9)
        seen["closed"] += found.worst() <= best * (1 + 1e-6)
        seen["proved"] += bound is not None and best * 0.9 <= bound.value <= best * (1 + 1e-9)
        seen["all"] += 1
    assert seen["closed"] * 2 > seen["all"] > 5
    assert seen["proved"] * 2 > seen["all"]
