"""Re-planning against the truth: tiny fleets by enumeration, schedules by an independent walk.

    python benchmarks/replan_checks.py tiny                  # until 5,000 cases are done
    python benchmarks/replan_checks.py schedules --cases 20000 --seconds 150
    python benchmarks/replan_checks.py schedules --first 100000 --cases 5000   # other cases
    python benchmarks/replan_checks.py losses

Every case is drawn from its own number. A run goes on where the last one with the same first case
ended, and the counts stand in benchmarks/results/replan/checks.json, each series by its first case;
``--anew`` begins again. Exits with 1 at the first case that fails, and names it; ``--only N`` runs
that one alone.

``tiny`` looks at every placement of a fleet of a few models and holds the best of every budget,
and its bound, against it; of every fifth also those of the search that does not enumerate.
``schedules`` walks the steps of a transition with a simulator that knows memory and rules only:
in the order of their numbers and all the way back, so back from every prefix, and three times
side by side in an order and at speeds that are drawn, half of them turning back somewhere. Where
a schedule is ruled out by proof, a search through all reachable states of small fleets must find
none either.

``losses`` takes a GPU or a node from a tiny fleet. Where all models fit on the rest, all must be
restored, and by the least number of changes where no more are allowed; where not all fit, none that
is left out may fit beside those that are restored.
"""

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random
from unittest import mock

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "replan"))

from budgets import check_search, check_tiny, origins
from every import best_by_budget
from losses import check_loss
from losses import losses as lost_ones
from schedules import check_one, safe_orders, transitions

from kvplace.bench.environment import environment
from kvplace.replan.budget import search as budget_search

RESULTS = Path(__file__).parent / "results" / "replan" / "checks.json"
SEARCHED = 5
"""Of so many tiny fleets one is searched without enumeration as well, which takes most time."""
CASES = {"tiny": 5_000, "schedules": 20_000, "losses": 2_000}


def tiny(number, counts):
    """One fleet that is small enough; those that are too large are drawn again."""
    random = Random(f"tiny {number}")
    while True:
        problem, current = next(origins(random, 1))
        truth = best_by_budget(problem, current, most=1_000)
        if truth is None:
            continue
        counts["budgets"] += check_tiny(problem, current, truth)
        counts[f"objective {problem.goal.value}"] += 1
        counts["with rules"] += bool(problem.rules)
        met = None
        if number % SEARCHED == 0:
            with mock.patch.object(budget_search, "FEW", 0):
                met = check_search(problem, current, truth)
        if met:
            counts["search without enumeration: best"] += met[0]
            counts["search without enumeration: budgets"] += met[1]
        return


def schedules(number, counts):
    random = Random(f"schedule {number}")
    # Mostly of few GPUs: a search through all states takes seconds on the larger ones.
    transition = next(transitions(random, 1, gpus=(4, 6) if random.random() < 0.03 else (3, 3)))
    schedule, truth = check_one(random, transition)
    counts["found" if schedule.found else "not found"] += 1
    counts["with a pause"] += bool(schedule.pauses)
    counts["with a way round"] += bool(schedule.parked)
    counts["steps walked"] += len(schedule.steps)
    orders = safe_orders(transition)
    if orders is not None:
        counts["two to five changes"] += 1
        counts["of these one safe order of direct changes"] += orders == 1
        counts["of these none"] += orders == 0
        if orders:
            assert schedule.found
            assert not schedule.pauses
            assert not schedule.parked
    if schedule.found:
        return
    counts["not found, and proved"] += schedule.proved
    if truth is not None:
        counts[f"not found, up to four replicas, all states looked at: {truth}"] += 1


def losses(number, counts):
    """One fleet that loses a GPU or a node, small enough; too large ones are drawn again."""
    random = Random(f"loss {number}")
    for problem, before in lost_ones(random):
        found = check_loss(problem, before)
        if found is not None:
            counts[found] += 1
            return


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("part", choices=list(CASES))
    parser.add_argument("--cases", type=int, help="how many in all")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="end after so long")
    parser.add_argument("--anew", action="store_true", help="forget earlier runs")
    parser.add_argument("--only", type=int, metavar="N", help="case N alone; nothing is written")
    args = parser.parse_args(arguments)
    run = {"tiny": tiny, "schedules": schedules, "losses": losses}[args.part]
    if args.only is not None:
        counts = Counter()
        run(args.only, counts)
        print(dict(counts))
        return 0
    whole = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    series = whole.setdefault(args.part, {})
    known = {} if args.anew else series.get(str(args.first), {})
    counts = Counter(known.get("counts", {}))
    number, last = args.first + known.get("cases", 0), args.first + (args.cases or CASES[args.part])
    began, cpu = time.monotonic(), time.process_time()
    failed = None
    while number < last and failed is None:
        if time.monotonic() - began > args.seconds:
            break
        try:
            run(number, counts)
            number += 1
        except Exception as error:  # noqa: BLE001 - whatever it is, the case is named
            failed = error
    series[str(args.first)] = {
        "cases": number - args.first,
        "failed": int(failed is not None),
        "cpu_seconds": round(known.get("cpu_seconds", 0.0) + time.process_time() - cpu, 1),
        "counts": dict(sorted(counts.items())),
        "environment": environment(),
    }
    RESULTS.write_text(json.dumps(whole, indent=1) + "\n")
    shown = {k: v for k, v in series[str(args.first)].items() if k != "environment"}
    print(json.dumps(shown, indent=1))
    if failed is not None:
        print(f"case {number} fails: {type(failed).__name__}: {failed}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
