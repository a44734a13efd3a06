"""Measure what each stage of the search is worth and write docs/stages.md.

    python benchmarks/stages.py                 # all families
    python benchmarks/stages.py adrs 20x40      # some of them, to look at

Each case is solved once as a whole and once without each stage that ran on it. There is no time
limit, so the figures do not depend on the machine; only the seconds do. Stages that compiled
kernels do need one: the families of LIMITS have it, and their figures depend on the machine. A
stage that brings nothing on any family is to be deleted.
"""

import math
import sys
import time
from collections import defaultdict
from dataclasses import fields
from pathlib import Path

from kvplace.bench.cases import cases_of
from kvplace.solver.solve import solve
from kvplace.solver.strategies.params import ClusterParams, LargeParams, Params, UndividedParams
from kvplace.solver.strategies.stages import NEEDED, STAGES

PAGE = Path(__file__).parents[1] / "docs/stages.md"
FLEETS = Path(__file__).parents[2] / "shared/data/fleets"
FAMILIES = {
    # name: cases at most; the larger ones of stress take minutes without a time limit
    "adrs": 50, "20x40": 3, "50x100": 2, "20x60": 2, "stress": 4, "scale-10-1k": 1,
    "scale-3-1k": 1, "scale-10-10k": 1,
    **{str(FLEETS / f"{name}.yaml"): 1 for name in ("lmsys-16", "openrouter-60")},
    "50x150": 2, "adrs-like": 2, str(FLEETS / "openrouter-103.yaml"): 1,
}  # fmt: skip
LIMITS = {"50x150": 8.0, "adrs-like": 8.0, "openrouter-103": 20.0}
"""Seconds allowed, where there is a limit: those that kernels need to be loaded, and more."""
LEAST = 1e-9
"""Relative difference that counts."""


def main(names):
    families = {name: most for name, most in FAMILIES.items() if not names or name in names}
    rows = []
    for family, most in families.items():
        if family.endswith(".yaml") and not Path(family).exists():
            continue
        began = time.perf_counter()
        cases = cases_of([family], range(1 if family in ("adrs", "stress") else most))
        name = Path(family).stem
        rows.append((name, *measured(cases[:most], LIMITS.get(name))))
        print(f"{family}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
        if not names:
            PAGE.write_text(page(rows), "utf-8")
    if names:
        print(page(rows))


def measured(cases, limit):
    """Return the number of cases, the seconds of the whole, and what each stage is worth."""
    worth = {stage: defaultdict(float) for stage in STAGES}
    whole = 0.0
    for _, case in cases:
        result = solve(case.problem, time_limit=limit)
        whole += result.seconds
        for gain in result.stages:
            own = worth[gain.name]
            own["cases"] += 1
            own["seconds"] += gain.seconds
            own["lowered"] += math.log(gain.lowered)
            own["raised"] += math.log(gain.raised)
            if gain.name not in NEEDED:
                left = solve(case.problem, time_limit=limit, without=[gain.name])
                compare(own, result, left)
    return len(cases), whole, worth


def compare(own, result, left):
    """Note how a result is worse without a stage."""
    value, bound = ratio(left.value, result.value), ratio(result.bound, left.bound)
    own["worse"] += value
    own["lower"] += bound
    own["cases worse"] += value > LEAST
    own["cases lower"] += bound > LEAST
    own["saved"] += result.seconds - left.seconds
    profile, other = (r.evaluation.profile() if r.evaluation else () for r in (result, left))
    own["profile"] += any(b > a * (1 + 1e-6) for a, b in zip(profile, other, strict=False))


def ratio(now, before):
    """Return the logarithm of a ratio; a placement or a bound that is missing counts ten-fold."""
    if now == before:
        return 0.0
    if not 0 < before < math.inf or not 0 < now < math.inf:
        return math.log(10.0)
    return math.log(now / before)


def percent(logarithms, count):
    """Return the geometric mean of ratios as a percentage above one."""
    share = math.expm1(logarithms / count) if count else 0.0
    return "-" if abs(share) < 5e-8 else f"{100 * share:.2g} %"


def page(rows):
    """Return the page."""
    parts = [HEAD]
    for family, cases, seconds, worth in rows:
        parts.append(f"## {family}: {cases} case{'s' * (cases > 1)}, {seconds:.2g} s\n")
        parts.append(TABLE)
        for stage, own in worth.items():
            count = int(own["cases"])
            if count:
                parts.append(
                    f"| `{stage}` | {count} | {own['seconds']:.2g} s "
                    f"| {percent(-own['lowered'], count)} | {percent(own['raised'], count)} "
                    f"| {percent(own['worse'], count)} ({int(own['cases worse'])}) "
                    f"| {percent(own['lower'], count)} ({int(own['cases lower'])}) "
                    f"| {int(own['profile'])} |"
                )
        parts.append("")
    parts.append(KNOBS)
    for name, kind in (
        ("undivided", UndividedParams), ("cluster", ClusterParams), ("large", LargeParams),
        ("all", Params),
    ):  # fmt: skip
        parts += [
            f"| {name} | `{knob.name}` | {knob.default} | {knob.metadata['unit']} "
            f"| {knob.metadata['found']} |"
            for knob in fields(kind)
            if "unit" in knob.metadata
        ]
    return "\n".join(parts) + "\n"


HEAD = """\
# What each stage of the search is worth

<!-- Written by `python benchmarks/stages.py`. -->

A search is an ordered list of stages: `src/kvplace/solver/strategies/` holds the list for undivided
models, the one for clusters and the one for large fleets. [How kvplace searches](algorithm.md) says
what they do. `kvplace bench FAMILY --solver auto --without STAGE` repeats a line of these tables.

No run has a time limit but those of 50x150 and adrs-like, 8 s, and openrouter-103, 20 s.
`seconds` is the time that a stage took in the whole search. `lowered` and `raised` are the
factors by which it changed the value and the bound there, on the geometric mean over the cases on
which it ran. `value worse` and `bound lower` compare a search without the stage, with the number
of cases that differ in brackets; a negative figure says that the other stages do better without
it, which happens where what it finds sends them another way. `balance worse` counts the cases
whose other GPUs are less balanced without it.

Some stages decide nothing in these runs and are kept for what else was measured. `exact-packing`
and `enumeration` settle fleets that are full to their last bytes. `group-cover` needs a time
limit of 5 s or more: on 50x150 with 6 s, one seed of two is 0.10 % worse without it. `annealing`
needs one, too.

`leximax` proves that no placement balances the other GPUs better: to the last GPU on 44 of the 50
cases of ADRS, of which it betters the balance of one. That takes 2.0 of 2.3 s of CPU.

Bounds by price functions (`lifted-bound`, `stepped-bound`, `dual-feasible-bound`) were measured
and deleted: the configuration programs that come after them say as much. Without all three, and
without a local search, the bound of 800 models on 400 GPUs fell by 0.03 %, that of 620 on 310
rose by 0.01 %, and those of 100x200 and of 900 models on 300 GPUs did not move. At 1 to 2 s of
CPU three seeds of 20x50 were proved as before, and of twelve cases of stress one bound was 0.04 %
lower, one 0.006 % higher, and ten were as they were.
"""
TABLE = """\
| stage | cases | seconds | lowered | raised | value worse | bound lower | balance worse |
|---|---|---|---|---|---|---|---|"""
KNOBS = """\
## Knobs

Every knob of the strategies, from `src/kvplace/solver/strategies/params.py`, which says what each
does. `by hand`: no systematic search for it is recorded.

| strategy | knob | value | unit | how it was found |
|---|---|---|---|---|"""

if __name__ == "__main__":
    main(sys.argv[1:])
