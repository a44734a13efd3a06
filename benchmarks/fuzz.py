"""Random small problems against everything that must always hold.

    python benchmarks/fuzz.py --cases 100000 --seed 1 --solver reference
    python benchmarks/fuzz.py --cases 10000 --seed 1 --solver auto --oracle

Case number i of seed s is always the same problem; a failure prints the command that repeats it.
Exits 1 where anything failed.
"""

import argparse
import random
import sys
import time
import traceback
from collections import Counter
from fractions import Fraction
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from kvplace.core.certificates.certificate import check_certificate
from kvplace.core.placement import Placement
from kvplace.core.result import OPTIMAL_GAP, Status, Stop
from kvplace.errors import InputError, InternalError, KvplaceError
from kvplace.solver.solve import SOLVERS, refine, solve
from oracle import exact_profile, solve_exactly
from tiny import random_problem

ROUNDING = Fraction(1, 10**12)
"""Relative width allowed for the rounding of a float against exact numbers."""


def main(arguments=None):
    raw = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="processor seconds")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--solver", choices=SOLVERS, default="auto")
    parser.add_argument("--oracle", action="store_true", help="compare with brute force")
    parser.add_argument("--gpus", type=int, default=3)
    parser.add_argument("--models", type=int, default=6)
    parser.add_argument("--limit", type=float, default=10.0, help="seconds that count as endless")
    options = parser.parse_args(arguments)
    counts, failures, slowest = Counter(), 0, (0.0, 0)
    start = shown = time.perf_counter()
    end = time.process_time() + options.seconds
    for number in range(options.first, options.first + options.cases):
        began = time.perf_counter()
        faults = run_case(options, number, counts)
        now = time.perf_counter()
        slowest = max(slowest, (now - began, number))
        if faults:
            failures += 1
            report(options, number, faults)
        done = number + 1 - options.first
        if now - shown > 30:
            shown = now
            print(f"{done} cases, {done / (now - start):.0f}/s, {failures} failed", file=sys.stderr)
        if time.process_time() > end:
            break
    seconds = time.perf_counter() - start
    print(f"{done} cases in {seconds:.1f} s: {done / seconds:.0f}/s; {failures} failed")
    print("; ".join(f"{name} {count}" for name, count in sorted(counts.items())))
    print(f"slowest: case {slowest[1]}, {slowest[0]:.3f} s")
    return 1 if failures else 0


def run_case(options, number, counts):
    """Return what is wrong with one case, as sentences."""
    draw = random.Random(f"{options.seed}/{number}")
    try:
        problem = random_problem(draw, options.gpus, options.models)
    except InputError:
        counts["refused"] += 1
        return []
    try:
        result = solve(problem, solver=options.solver, seed=number, time_limit=options.limit)
        faults = list(check_result(problem, result, counts))
        if options.oracle:
            faults += check_against_oracle(problem, result, counts)
        if draw.random() < 0.2:
            faults += check_refine(problem, draw, counts, options.limit)
    except InputError:
        counts["refused by the solver"] += 1
        return []
    except InternalError as error:
        return [f"InternalError: {error}"]
    except KvplaceError as error:
        return [f"{type(error).__name__}: {error}"]
    except Exception:  # noqa: BLE001 - any other exception is what is looked for
        return [traceback.format_exc()]
    return faults


def check_result(problem, result, counts):
    """Yield what a result says that cannot be."""
    counts[str(result.status)] += 1
    if result.proof.method == "search":
        counts["proved by search"] += 1
    if result.stop is Stop.TIME_LIMIT:
        yield f"no end after {result.iterations} steps in {result.seconds:.1f} s"
    bound, certificate = result.proof.value, result.proof.certificate
    if not bound >= 0:
        yield f"the bound is {bound}"
    if certificate is not None:
        counts["certificates"] += 1
        objection = check_certificate(problem, certificate)
        if objection:
            yield f"the certificate is rejected: {objection}"
        if certificate.threshold < bound:
            yield f"the certificate proves {certificate.threshold}, the bound claims {bound}"
    elif bound > 0 and result.proof.method != "search":
        yield f"a bound {bound} by {result.proof.method} without evidence"
    if result.placement is None:
        if result.status is Status.INFEASIBLE and result.stop is not Stop.INFEASIBLE:
            yield f"infeasible, but stopped for {result.stop}"
        return
    profile = exact_profile(problem, result.placement)
    if profile is None:
        yield f"the placement is not valid: {result.placement}"
        return
    if abs(Fraction(result.value) - profile[0]) > ROUNDING * profile[0]:
        yield f"the value is {result.value!r}, exactly {float(profile[0])!r}"
    if Fraction(bound) > profile[0] * (1 + ROUNDING):
        yield f"the bound {bound!r} exceeds the value {result.value!r}"
    if result.stop is Stop.OPTIMAL and result.status is not Status.OPTIMAL:
        yield f"stopped as optimal, but the status is {result.status}"


def check_against_oracle(problem, result, counts):
    """Yield where a result contradicts brute force."""
    truth = solve_exactly(problem)
    if not truth.feasible:
        counts["impossible in truth"] += 1
        if result.placement is not None:
            yield "brute force finds no placement"
        return
    if result.status is Status.INFEASIBLE:
        yield f"called infeasible; brute force has {truth.placement}"
        return
    bound, optimum = Fraction(result.proof.value), truth.optimum
    # A certificate speaks of exact numbers; an exhaustive search of numbers up to OPTIMAL_GAP.
    slack = 0 if result.proof.certificate else Fraction(OPTIMAL_GAP)
    if bound > optimum * (1 + slack):
        yield f"the bound {result.proof.value!r} exceeds the optimum {float(optimum)!r}"
    if result.placement is None:
        counts["not found, though there is one"] += 1
        return
    value, profile = Fraction(result.value), exact_profile(problem, result.placement)
    if profile is not None and profile < truth.profile:
        yield "better than brute force"
    if result.status is Status.OPTIMAL and value > optimum * (1 + 2 * Fraction(OPTIMAL_GAP)):
        yield f"called optimal at {result.value!r}; the optimum is {float(optimum)!r}"
    counts["value is the optimum"] += value <= optimum * (1 + Fraction(OPTIMAL_GAP))
    if profile is not None:
        pairs = zip(profile, truth.profile, strict=True)
        near = all(have <= best * (1 + Fraction(OPTIMAL_GAP)) for have, best in pairs)
        counts["leximax-best"] += near
        counts["leximax proved to the last GPU"] += result.ranks == len(profile)
        pairs = zip(profile[: result.ranks], truth.profile, strict=False)
        for rank, (have, best) in enumerate(pairs, 1):
            if have > best * (1 + 2 * Fraction(OPTIMAL_GAP)):
                yield f"rank {rank} of {result.ranks} said to be proved: {have} is not {best}"
            if have < best * (1 - 2 * Fraction(OPTIMAL_GAP)):
                break


def check_refine(problem, draw, counts, limit):
    """Yield where refining a drawn placement worsens it."""
    ids = [gpu.id for gpu in problem.fleet.gpus]
    start = Placement.single({model.name: draw.choice(ids) for model in problem.models})
    before = exact_profile(problem, start)
    if before is None:
        return
    counts["refined"] += 1
    result = refine(problem, start, iterations=draw.choice([None, 0, 1, 50]), time_limit=limit)
    yield from check_result(problem, result, Counter())
    after = exact_profile(problem, result.placement)
    # Every step lowers the sorted vector by more than rounding.
    if after is None or (after > before and result.placement != start):
        yield f"refine worsens {start}"


def report(options, number, faults):
    """Print a failure with what repeats it."""
    print(f"FAILED case {number}:")
    for fault in faults:
        print(f"  {fault}")
    print(
        f"  python benchmarks/fuzz.py --cases 1 --first {number} --seed {options.seed} "
        f"--solver {options.solver} --gpus {options.gpus} --models {options.models}"
        + (" --oracle" if options.oracle else "")
    )
    try:
        problem = random_problem(
            random.Random(f"{options.seed}/{number}"), options.gpus, options.models
        )
    except InputError:
        return
    print(f"  {problem.goal}: memory {[gpu.usable_bytes for gpu in problem.fleet.gpus]}")
    for model, load in zip(problem.models, problem.loads, strict=True):
        size = model.weights_bytes + model.overhead_bytes
        print(f"    {model.name}: {size} bytes, min_kv {model.min_kv_bytes}, load {load!r}")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
