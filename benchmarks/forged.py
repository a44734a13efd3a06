"""Forges plans and proofs of what is not so; not one of them may be verified.

    python benchmarks/forged.py --forged 20000

Brute force says what is true of tiny fleets. Then plans claim a bound above the optimum, that
nothing can be placed, that soft rules cannot be kept, that other GPUs cannot be balanced better:
by methods that leave no evidence, by certificates and proof trees that were damaged or made up,
and by an optimiser that moves prices and worths towards what the checker would accept and then
tries every rounding near it. Number i of seed s is always the same forgery. Exits with 1 at the
first that is verified.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from damage import damaged
from kvplace.checking.check import check
from kvplace.core.certificates.by_rule import RULES, RuleCertificate
from kvplace.core.certificates.cases import Case, Domains
from kvplace.core.certificates.certificate import check_certificate, every_possible
from kvplace.core.certificates.claim import Bound, Certificate, Choice, Leaf, ProofTree
from kvplace.core.certificates.sizes import scaled_sizes
from kvplace.core.certificates.standing import standing_of
from kvplace.core.certificates.tree import bins_of
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.models.objective import Objective
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.core.result import OPTIMAL_GAP, Result, Stop
from kvplace.errors import InputError, KvplaceError
from kvplace.formats.plan.io import write_plan
from kvplace.formats.plan.of_result import plan_of
from kvplace.formats.plan.schema import parse_plan
from kvplace.solver.solve import solve
from oracle import solve_exactly
from oracle_splits import solve_by_force
from splits import OBJECTIVES, random_split_problem
from tiny import random_problem

Evidence = Certificate | RuleCertificate | ProofTree | None

DRAWN = (*OBJECTIVES, Objective.PRESSURE)
METHODS = (
    "fluid",
    "single-model",
    "lifted",
    "dual-feasible",
    "configuration",
    "search",
)


class Verified(Exception):  # noqa: N818 - it ends the run, and is what must not be
    """A forgery was verified."""


class Forger:
    """Makes forgeries of one problem and has them checked.

    Parameters
    ----------
    problem, optimum
        A problem that can be placed, and its least max pressure.
    rng
        Chance.
    counts
        Forgeries by kind, counted here.
    """

    def __init__(
        self, problem: Problem, optimum: float, rng: random.Random, counts: Counter[str]
    ) -> None:
        self.problem, self.optimum, self.rng, self.counts = (
            problem,
            optimum,
            rng,
            counts,
        )
        self.memories = Counter(gpu.usable_bytes for gpu in problem.fleet.gpus)

    def refused(self, kind: str, forgery: object, *, verified: object = False) -> None:
        """Count a forgery that was refused.

        Raises
        ------
        Verified
            It was not.
        """
        self.counts[kind] += 1
        if verified:
            raise Verified(f"{kind}: {forgery!r} on {self.problem!r}")

    def evidence(self, kind: str, claim: Evidence) -> None:
        """Have the evidence for a false bound checked."""
        assert claim is not None
        self.refused(kind, claim, verified=check_certificate(self.problem, claim) == "")

    def plan(self, kind: str, result: Result, **changes: object) -> None:
        """Have a plan of a false claim checked, as it is and as a file."""
        try:
            plan = replace(plan_of(result), **changes)
            found = check(self.problem, parse_plan(write_plan(plan)))
        except KvplaceError:
            self.refused(kind, result)
            return
        self.refused(kind, plan, verified=found.holds)

    def threshold(self) -> float:
        """Return a bound that is not so."""
        near = (1 + 1e-15, 1 + 4e-9, 1 + 1e-6, 1.01, 1.5, 10.0, 1e6)
        above = self.optimum * self.rng.choice(near)
        return math.inf if self.rng.random() < 0.2 else math.nextafter(above, math.inf)

    def all(self) -> None:
        """Make every kind of forgery once, the quick kinds more often."""
        for _ in range(4):
            self.rules()
            self.prices()
            self.tree()
            self.damaged_plan()
        self.optimised()
        self.claims()

    def rules(self) -> None:
        """Claim a bound by a rule."""
        name = self.rng.choice([*self.problem.names, "", "x"])
        resource, window = (
            self.rng.choice(("kv", "time", "x")),
            self.rng.choice((0, 0, 1, -1)),
        )
        rule, gpus = self.rng.choice((*RULES, "search", "")), list(self.problem.fleet.gpus)
        scope = tuple(gpu.id for gpu in self.rng.sample(gpus, self.rng.randint(0, len(gpus))))
        scope = self.rng.choice(((), scope))
        claim = RuleCertificate(self.threshold(), rule, name, resource, window, scope)
        self.evidence("rule", claim)

    def random_prices(self, threshold: float) -> tuple[list[list[int]], dict[int, int]]:
        """Return prices by option, and worths, of some kind."""
        rng, table = self.rng, self.problem.option_table
        unit = rng.choice((1, 3, 10**6, 2**200))
        if self.problem.plain and threshold < math.inf and rng.random() < 0.5:
            rows = [[size] for size in scaled_sizes(self.problem, threshold)]
            unit = 1 << 64
        else:
            rows = [
                [rng.choice((0, 1, 1, 2, 5)) * unit for _ in range(table.count(index))]
                for index in range(len(self.problem.names))
            ]
        worths = {m: rng.choice((0, unit, 2 * unit, m * unit, m * unit - 1)) for m in self.memories}
        return rows, worths

    def certificate(
        self,
        threshold: float,
        rows: list[list[int]],
        worths: dict[int, int],
        **more: object,
    ) -> Certificate:
        """Return a certificate of prices and worths, with weights where there are pressures."""
        prices = tuple(row[0] if self.problem.plain else tuple(row) for row in rows)
        pairs = tuple(sorted(worths.items()))
        if self.problem.goal is Objective.PRESSURE and math.isfinite(threshold):
            kinds = sorted({(gpu.type, gpu.usable_bytes) for gpu in self.problem.fleet.gpus})
            pairs = tuple((memory, worths.get(memory, 0)) for _, memory in kinds)
            chance = self.rng.choice
            weights = tuple(
                tuple(chance((0, 1, 1, 5, 1 << 40)) for _ in range(2 * len(self.problem.windows)))
                for _ in range(chance((1, 1, 2, 3)))
            )
            more = {
                "weights": weights,
                "types": tuple(kind for kind, _ in kinds),
            } | more
        return Certificate(threshold, prices, pairs, **more)

    def prices(self) -> None:
        """Claim a bound by prices that were made up, with scopes, weights and types as well."""
        rng, threshold = self.rng, self.threshold()
        rows, worths = self.random_prices(threshold)
        more: dict[str, object] = {}
        if rng.random() < 0.3:
            ids = [gpu.id for gpu in self.problem.fleet.gpus]
            more["scope"] = tuple(rng.sample(ids, rng.randint(1, len(ids))))
        if rng.random() < 0.2:
            more |= {
                "weights": ((1, rng.choice((0, 1))),),
                "types": ("t",) * len(worths),
            }
        if rng.random() < 0.1:
            worths[rng.choice((0, -1, 10**30))] = 0
        if rng.random() < 0.1:
            rows[0] = [rng.choice((-1, True, 1.5, 1 << 300))] * len(rows[0])
        self.evidence("prices", self.certificate(threshold, rows, worths, **more))

    def tree(self) -> None:
        """Claim a bound by a tree that was made up."""
        rng, threshold = self.rng, self.threshold()

        def leaf(case: Case | None = None) -> Leaf:
            rows, worths = self.random_prices(threshold)
            return self.leaf(self.certificate(threshold, rows, worths), case)

        choice, cases = self.choice()
        nodes = [leaf() if rng.random() < 0.6 else self.choice()[0] for _ in range(5)]
        size = rng.choice((0, 1, 1, 3, 3, 5))
        shape = [choice, *map(leaf, cases)] if size == 3 else nodes[:size]
        self.evidence("tree", ProofTree(threshold, tuple(shape)))

    def choice(self) -> tuple[Choice, Sequence[Case | None]]:
        """Return a choice that was made up, and its cases, if it has any."""
        rng, table = self.rng, self.problem.option_table
        model = rng.choice([*range(len(self.problem.names)), len(self.problem.names), -1])
        known = table.count(model) if 0 <= model < len(self.problem.names) else 1
        options = tuple(rng.sample(range(known + 1), rng.randint(0, known)))
        typed = self.problem.goal is Objective.PRESSURE
        domains = Domains(self.problem, typed=typed)
        named = rng.sample(domains.names, rng.randint(0, len(domains.names)))
        choice = Choice(model, options, (*named, "nowhere") if rng.random() < 0.1 else tuple(named))
        cases = domains.cases(None, choice)
        return choice, (None, None) if isinstance(cases, str) else cases

    def leaf(self, made: Certificate, case: Case | None) -> Leaf:
        """Return the leaf of a case with the prices of a certificate, and its worths in all bins.

        Worths of bins of one kind differ here and there.
        """
        typed, rng = bool(made.weights), self.rng
        domains = Domains(self.problem, typed=typed)
        worth = dict(zip(zip(made.types or [""] * len(made.worths), (m for m, _ in made.worths),
                             strict=True), (w for _, w in made.worths), strict=True))  # fmt: skip
        kinds = [kind for kind, *_ in bins_of(domains, domains.where(case))]
        parts = (rng.choice((1, 1, 1, 2, 0)) if case else 1 for _ in kinds)
        worths = tuple(
            (kind[1], worth.get(kind, 0) // part if part else 0)
            for kind, part in zip(kinds, parts, strict=True)
        )
        types = tuple(kind[0] for kind in kinds) if typed else ()
        return Leaf(made.prices, worths, made.weights, types)

    def optimised(self) -> None:
        """Move prices towards what the checker would accept, and try every rounding near it."""
        threshold = self.optimum * self.rng.choice((1 + 1e-12, 1 + 1e-9, 1.001, 1.1))
        threshold = math.nextafter(threshold, math.inf)
        sets = self.fitting(threshold)
        if sets is None:
            return
        rows, best = self.climb(sets)
        for prices, worths in self.near(rows, best):
            self.evidence("optimised prices", self.certificate(threshold, prices, worths))
            made = self.certificate(threshold, prices, worths)
            nodes: tuple[Choice | Leaf, ...] = (self.leaf(made, None),)
            if self.rng.random() < 0.5:
                choice, cases = self.choice()
                nodes = (choice, *(self.leaf(made, case) for case in cases))
            self.evidence("optimised tree", ProofTree(threshold, nodes))

    def fitting(self, threshold: float) -> dict[int, list[tuple[int, ...]]] | None:
        """Return, by memory, the sets of models that fit a GPU below a threshold; small ones."""
        if not self.problem.plain or len(self.problem.names) > 7:
            return None
        found: dict[int, list[tuple[int, ...]]] = {}
        options = [possible[:1] for possible in every_possible(self.problem, threshold)]
        for memory in self.memories:
            found[memory] = []
            for count in range(1, len(options) + 1):
                for some in combinations(range(len(options)), count):
                    if not all(options[j] for j in some):
                        continue
                    size = sum(options[j][0][1] for j in some)
                    kept = sum(options[j][0][2] for j in some)
                    if size < memory << 64 and kept <= memory:
                        found[memory].append(some)
        return found

    def climb(
        self, sets: dict[int, list[tuple[int, ...]]]
    ) -> tuple[list[list[int]], dict[int, int]]:
        """Return prices, and the least worths that they allow, that come near to a proof."""
        rng, count = self.rng, len(self.problem.names)

        def worths_of(prices: list[int]) -> dict[int, int]:
            return {
                memory: max((sum(prices[j] for j in some) for some in fits), default=0)
                for memory, fits in sets.items()
            }

        def margin(prices: list[int]) -> float:
            worths = worths_of(prices)
            whole = sum(worths[memory] * n for memory, n in self.memories.items())
            return sum(prices) / whole if whole else 0.0

        unit = 10**12
        prices = [unit] * count
        best, step = margin(prices), unit // 2
        for _ in range(60):
            at, by = rng.randrange(count), rng.choice((-step, step))
            tried = [max(0, p + by * (j == at)) for j, p in enumerate(prices)]
            now = margin(tried)
            if now >= best:
                prices, best = tried, now
            else:
                step = max(1, step * 9 // 10)
        return [[price] for price in prices], worths_of(prices)

    def near(
        self, rows: list[list[int]], worths: dict[int, int]
    ) -> Iterator[tuple[list[list[int]], dict[int, int]]]:
        """Yield prices a little up and worths a little down, on several scales."""
        total = sum(row[0] for row in rows)
        for scale in (1, 7, 1 << 60):
            for up in (0, 1, total // 10**9 + 1):
                for down in (0, 1, 2):
                    dear = [[row[0] * scale + up] for row in rows]
                    yield dear, {m: max(0, w * scale - down) for m, w in worths.items()}

    def claims(self) -> None:
        """Claim an optimum, an impossibility, ranks or tiers by methods without evidence."""
        rng, problem = self.rng, self.problem
        result = solve(problem)
        assert result.placement is not None
        for _ in range(3):
            worse = self.worse(result.placement)
            evaluation = evaluate(problem, worse)
            best = standing_of(problem, evaluate(problem, result.placement))
            mine = standing_of(problem, evaluation)
            method = rng.choice((*METHODS, "proved", ""))
            made = (Stop.OPTIMAL, "auto", 0, 0, 0.0)
            if evaluation.valid and best.betters(mine):
                proof = Bound(evaluation.value, method, None, mine.breaches)
                told = Result(problem, worse, evaluation, proof, *made, ranks=len(mine.profile))
                self.plan("optimal", told, status="optimal", soft_rules=rng.choice(
                    (plan_of(told).soft_rules, ())))  # fmt: skip
        nothing = Bound(math.inf, rng.choice(METHODS))
        none = Result(problem, None, None, nothing, Stop.INFEASIBLE, "auto", 0, 0, 0.0)
        self.plan("infeasible", none, status="infeasible")

    def worse(self, placement: Placement) -> Placement:
        """Return a placement with a copy or two moved to other GPUs."""
        ids = [gpu.id for gpu in self.problem.fleet.gpus]
        replicas = list(placement.replicas)
        for _ in range(self.rng.randint(1, 2)):
            at = self.rng.randrange(len(replicas))
            gpus = tuple(self.rng.sample(ids, len(replicas[at].gpus)))
            replicas[at] = replace(replicas[at], gpus=gpus)
        return Placement(tuple(replicas))

    def damaged_plan(self) -> None:
        """Give a placement that is not the best the proof of another, damaged, as its own."""
        result = solve(self.problem)
        assert result.placement is not None
        worse = self.worse(result.placement)
        evaluation = evaluate(self.problem, worse)
        if not evaluation.valid or evaluation.value <= self.optimum * (1 + 1e-8):
            return
        value, proof = evaluation.value, result.proof
        if proof.certificate is not None:
            proof = replace(proof, certificate=replace(proof.certificate, threshold=value))
        tiers = standing_of(self.problem, evaluation).breaches
        proof = replace(proof, value=value, breaches=tiers)
        told = (Stop.OPTIMAL, "auto", 0, 0, 0.0)
        forged = Result(self.problem, worse, evaluation, proof, *told, ranks=1)
        data = json.loads(write_plan(plan_of(forged)))
        for key in ("certificate", "tree"):
            if data.get(key) and self.rng.random() < 0.8:
                data[key] = damaged(data[key], self.rng)
        try:
            found = check(self.problem, parse_plan(json.dumps(data)))
        except (KvplaceError, ValueError):
            self.refused("damaged plan", data)
            return
        self.refused("damaged plan", data, verified=found.holds)


def problems(seed: int) -> Iterator[tuple[Problem, float, random.Random]]:
    """Yield problems that can be placed, with their optima by brute force."""
    number = 0
    while True:
        rng = random.Random(f"{seed}/{number}")
        number += 1
        plain = number % 2
        try:
            problem = random_problem(rng, 3, 6) if plain else random_split_problem(rng, 4, DRAWN)
        except InputError:
            continue
        if plain:
            truth = solve_exactly(problem, leximax=False)
            optimum = float(truth.optimum) if truth.feasible else math.inf
        else:
            answer = solve_by_force(replace(problem, rules=()))  # evidence knows hard places only
            whole = solve_by_force(problem)
            optimum = max(answer.value, whole.value)
        if 0 < optimum * (1 + OPTIMAL_GAP) < math.inf:
            yield problem, optimum, rng


def main(arguments: list[str] | None = None) -> int:
    """Forge as often as is asked; return 1 where a forgery was verified."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--forged", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    counts: Counter[str] = Counter()
    began = time.process_time()
    try:
        for problem, optimum, rng in problems(options.seed):
            Forger(problem, optimum, rng, counts).all()
            if sum(counts.values()) >= options.forged:
                break
    except Verified as found:
        sys.stdout.write(f"VERIFIED {found}\n")
        return 1
    for kind, count in sorted(counts.items()):
        sys.stdout.write(f"{count:>7,}  {kind}\n")
    seconds = time.process_time() - began
    sys.stdout.write(f"{sum(counts.values()):>7,}  forged, none verified, {seconds:.0f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
