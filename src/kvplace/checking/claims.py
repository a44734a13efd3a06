"""Check what a plan claims of all placements: its bound, its status, how far leximax is proved."""

import math

from kvplace.checking.findings import Findings, shown
from kvplace.core.certificates.balance import check_rank_bound
from kvplace.core.certificates.certificate import Bound, TooLarge, check_certificate
from kvplace.core.certificates.claim import Evidence
from kvplace.core.certificates.listing import look_for_better
from kvplace.core.certificates.standing import (
    Standing,
    least_breaches,
    never_kept,
    standing_of,
    tiers_of,
)
from kvplace.core.evaluation.evaluate import Evaluation
from kvplace.core.problem import Problem
from kvplace.core.result import OPTIMAL_GAP, Status, Stop, status_of
from kvplace.formats.plan.evidence import PlanCertificate
from kvplace.formats.plan.stated import Plan


def check_claims(
    findings: Findings,
    problem: Problem,
    plan: Plan,
    evaluation: Evaluation | None,
    evidence: Evidence | None,
) -> None:
    """Check the claims of a plan by its evidence and, where it has none, by going through all.

    Parameters
    ----------
    findings
        What is found is added here.
    problem, plan
        The problem, and what is stated.
    evaluation
        Of the plan's placement; None where it has none.
    evidence
        Of somebody else, for a bound that is only claimed otherwise; None for none.
    """
    claims = _Claims(findings, problem, plan, evaluation, evidence)
    claims.check_proof()
    claims.check_tiers()
    proved = claims.check_bound()
    claims.check_status(proved=proved)
    claims.check_ranks()
    claims.check_balance()
    if plan.failures:
        findings.claimed.append("what becomes of the plan in each loss: that takes a plan for each")


class _Claims:
    """The claims of one plan."""

    def __init__(
        self,
        findings: Findings,
        problem: Problem,
        plan: Plan,
        evaluation: Evaluation | None,
        evidence: Evidence | None,
    ) -> None:
        self._to, self._problem, self._plan = findings, problem, plan
        self._evaluation, self._evidence = evaluation, evidence
        self._standing, self._value = Standing((), ()), math.inf
        if evaluation is not None:
            self._value = evaluation.value
            self._standing = standing_of(problem, evaluation)
        self._stated_tiers = tuple(entry.bound for entry in plan.soft_rules)

    def check_proof(self) -> None:
        """Check that the kind of proof that is named is the one that is there."""
        plan = self._plan
        evidence, proof = plan.certificate, "none"
        if evidence is not None:
            proof = "certificate"
            if plan.tree is not None:
                self._to.differ("tree", "the bound has a certificate as well")
        elif plan.tree is not None:
            proof = "proof tree"
            self._to.compare("objective.bound_method", plan.bound_method, "search")
        elif plan.bound_method == "search":
            proof = "exhaustive search"
        if isinstance(evidence, PlanCertificate):
            self._to.compare("certificate.method", evidence.method, plan.bound_method)
        if plan.proof:
            self._to.compare("proof", plan.proof, proof)

    def check_tiers(self) -> None:
        """Check what the plan states of soft rules, and the bound on them."""
        plan, path = self._plan, "objective.soft_rules"
        if not plan.soft_rules:
            return
        tiers = tuple(entry.tier for entry in plan.soft_rules)
        if self._evaluation is None or tiers != tiers_of(self._problem):
            self._to.differ(path, f"it states the tiers {tiers}, which the problem has not")
            return
        broken = tuple(entry.broken for entry in plan.soft_rules)
        self._to.compare(f"{path}.broken", broken, self._standing.breaches)
        if self._stated_tiers > self._standing.breaches:
            self._to.differ(f"{path}.bound", "the bound is above what the placement breaks")
        elif any(self._stated_tiers) and self._counted:
            self._to.verified.append("that soft rules cannot be kept better: counting shows it")
        elif any(self._stated_tiers):
            self._settle(
                f"{path}.bound",
                "that soft rules cannot be kept better",
                Standing(self._stated_tiers, ()),
            )

    @property
    def _counted(self) -> bool:
        """Whether counting alone shows the bound on every tier."""
        least = least_breaches(self._problem)
        return all(a <= b for a, b in zip(self._stated_tiers, least, strict=True))

    def check_bound(self) -> bool:
        """Check a bound and what it rests on; return whether it is proved here."""
        to, bound, before = self._to, self._plan.bound, len(self._to.found)
        if not bound <= self._value:
            message = f"the bound {shown(bound)} is above the value {shown(self._value)}"
            to.differ("objective.bound", message)
        open_, sentence = self._rests_on(bound)
        if len(to.found) > before:
            return False
        if open_ and self._backed(bound):
            open_, sentence = "", "the bound is proved by evidence that the plan does not hold"
        if open_:
            to.open.append(self._best(bound))
        (to.claimed if open_ else to.verified).append(open_ or sentence)
        return not open_

    def _rests_on(self, bound: float) -> tuple[str, str]:
        """Note what is wrong with the evidence; return what stays open, and what it proves else."""
        plan, to = self._plan, self._to
        known = plan.bound_for(self._problem)
        claim = known if isinstance(known, str) else known.certificate
        if claim is not None:
            if not isinstance(claim, str) and not bound <= claim.threshold:
                message = (
                    f"the bound {shown(bound)} is above the certificate's threshold "
                    f"{shown(claim.threshold)}"
                )
                to.differ("objective.bound", message)
            why = claim if isinstance(claim, str) else check_certificate(self._problem, claim)
            if isinstance(why, TooLarge):
                return f"the bound {shown(bound)}: its certificate is too large to check: {why}", ""
            path = "certificate" if plan.certificate is not None else "tree"
            if why:
                to.differ(path, f"it does not prove the bound: {why}")
            method = f" ({plan.bound_method})" if plan.certificate is not None else ""
            evidence = "proof tree" if plan.certificate is None else "certificate"
            return "", f"the bound is proved by the {evidence}{method}"
        if plan.bound_method == "search":
            why = self._search(bound) if bound <= self._value else ""
            if isinstance(why, TooLarge):
                reason = f"an exhaustive search, which leaves no evidence; {why}"
                return f"the bound {shown(bound)}: {reason}", ""
            if why:
                to.differ("objective.bound", why)
            return "", "the bound is proved: all placements were gone through"
        if plan.bound_method == "counting" and never_kept(self._problem):
            return "", ("that nothing can be placed: counting shows that a hard rule is never kept")
        if bound > 0:
            to.differ("objective.bound", f"nothing supports the bound {shown(bound)}")
        return "", "no bound above 0 is stated"

    def _backed(self, bound: float) -> bool:
        """Whether the evidence of somebody else proves a bound."""
        evidence = self._evidence
        if evidence is None or evidence.threshold < bound * (1 - OPTIMAL_GAP):
            return False
        return not check_certificate(self._problem, evidence)

    def _search(self, bound: float) -> str:
        """Say what going through all placements says of a bound."""
        best = None if math.isinf(bound) else self._best(bound)
        return look_for_better(self._problem, best)

    def _best(self, bound: float) -> Standing:
        """Return what no placement is better than, if a bound holds."""
        if math.isinf(bound):
            return Standing((math.inf,), ())  # any is
        stated = self._plan.soft_rules
        return Standing(self._stated_tiers if stated else self._standing.breaches, (bound,))

    def check_status(self, *, proved: bool) -> None:
        """Check that the status follows from the value and the bound."""
        plan, to, evaluation = self._plan, self._to, self._evaluation
        before = len(to.found)
        bound = Bound(plan.bound, plan.bound_method, None, self._stated_tiers)
        if not plan.soft_rules and plan.bound_method == "search":
            # Older plans leave the tiers out, and mean that they are as good as can be.
            bound = Bound(plan.bound, plan.bound_method, None, self._standing.breaches)
        if evaluation is None:
            status = Status.INFEASIBLE if math.isinf(plan.bound) else Status.UNKNOWN
        else:
            status = status_of(self._problem, evaluation, bound)
        to.compare("status", plan.status, status.value)
        for ended, needs in ((Stop.OPTIMAL, Status.OPTIMAL), (Stop.INFEASIBLE, Status.INFEASIBLE)):
            if plan.stop == ended and status is not needs:
                to.differ("stop", f"{plan.stop!r} does not go with the status {status.value!r}")
        if len(to.found) > before:
            return
        if status is Status.OPTIMAL and any(self._standing.breaches) and not plan.soft_rules:
            self._settle(
                "status",
                f"the status {status.value!r}, that the soft rules it breaks cannot be kept",
                Standing(self._standing.breaches, ()),
            )
        elif proved or status in (Status.FEASIBLE, Status.UNKNOWN):
            to.verified.append(f"the status {status.value!r} follows from value and bound")
        else:
            to.claimed.append(f"the status {status.value!r}: it follows if the bound holds")

    def check_ranks(self) -> None:
        """Check how many GPUs are said to be balanced as well as can be."""
        ranks, gpus = self._plan.ranks, len(self._problem.fleet.gpus)
        path = "objective.ranks"
        if not ranks:
            return
        if ranks > gpus:
            self._to.differ(path, f"the plan states {ranks} GPUs; there are {gpus}")
        elif self._plan.status != Status.OPTIMAL:
            message = f"{ranks} goes with the status 'optimal', not {self._plan.status!r}"
            self._to.differ(path, message)
        elif ranks > 1 and self._evaluation is not None:
            self._settle(
                path,
                f"that no placement balances the {ranks} worst GPUs better",
                standing_of(self._problem, self._evaluation, ranks),
            )

    def check_balance(self) -> None:
        """Check what is said of GPUs after the worst."""
        plan, before = self._plan, len(self._to.found)
        if not plan.balance or self._evaluation is None or not self._evaluation.valid:
            return
        for at, entry in enumerate(plan.balance):
            claim = entry.for_problem(self._problem)
            why = check_rank_bound(self._problem, claim, self._evaluation.value)
            if why:
                self._to.differ(f"objective.balance[{at}]", why)
        if len(self._to.found) == before:
            ranks = ", ".join(str(entry.rank) for entry in plan.balance)
            self._to.verified.append(f"the bounds on the GPUs at ranks {ranks}")

    def _settle(self, path: str, what: str, known: Standing) -> None:
        """Go through all placements to settle a claim that nothing is better than one."""
        why = look_for_better(self._problem, known)
        if isinstance(why, TooLarge):
            self._to.claimed.append(f"{what}: {why}")
            self._to.open.append(known)
        elif why:
            self._to.differ(path, why)
        else:
            self._to.verified.append(f"{what}: all placements were gone through")
