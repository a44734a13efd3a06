"""Measure what each stage of the search is worth and write docs/stages.md.

    python benchmarks/stages.py                 # all families
    python benchmarks/stages.py adrs 20x40      # some of them; the page keeps the others
    python benchmarks/stages.py --page          # the page alone, from the results recorded

Each case is solved once as a whole and once without each stage that ran on it. Every time is CPU
seconds of the process, all threads together, and so are the limits: other work on the machine does
not change the figures. Kernels are compiled before the first case. A stage that brings nothing on
any family is to be deleted.
"""

import json
import math
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import numpy as np

import pools
from kvplace.bench.cases import cases_of
from kvplace.bench.clusters import cluster
from kvplace.bench.families import build
from kvplace.core.hardware import GPU, Fleet, Node
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.model import Model, Replicas
from kvplace.core.models.objective import Objective
from kvplace.core.problem import Problem
from kvplace.formats.read import read
from kvplace.solver import clock
from kvplace.solver.solve import solve
from kvplace.solver.strategies.params import ClusterParams, LargeParams, Params, UndividedParams
from kvplace.solver.strategies.stages import NEEDED, STAGES
from kvplace.units import GIB

PAGE = Path(__file__).parents[1] / "docs/stages.md"
RESULTS = Path(__file__).parent / "results/stages.json"
FLEETS = Path(__file__).parents[2] / "shared/data/fleets"
LEAST = 1e-9
"""Relative difference that counts."""


@dataclass(frozen=True, slots=True)
class Family:
    """Cases that belong together.

    Parameters
    ----------
    cases
        Returns the problems, none where their data are absent.
    limit
        CPU seconds of each run; None for none.
    asked
        Stages without which the cases are solved as well, where they ran.
    """

    cases: object
    limit: float | None = None
    asked: tuple[str, ...] = STAGES


def named(name, seeds=1, most=50):
    """Return the cases of a family of `kvplace bench`."""
    return [case.problem for _, case in cases_of([name], range(seeds))][:most]


def fleet(name, objective):
    """Return a fleet of the shared data under one objective."""
    path = FLEETS / f"{name}.yaml"
    return [read(path, objective=objective)] if path.exists() else []


def full(seeds=4):
    """Return fleets of 8 GPUs that are full but for 1 GiB each: parts of a GPU are the models."""
    for seed in range(seeds):
        draw = np.random.RandomState(seed)
        cuts = [sorted(draw.choice(np.arange(4, 76), 3, replace=False)) for _ in range(8)]
        weights = np.concatenate([np.diff([0, *cut, 79]) for cut in cuts])
        draw.shuffle(weights)
        yield build(
            [80.0] * 8, weights.tolist(), draw.randint(1, 11, 32).tolist(),
            draw.randint(5, 11, 32).tolist(),
        )  # fmt: skip


def clusters(models, gpus, pinned, seeds):
    """Return small clusters."""
    return [cluster(models, gpus, pinned, seed) for seed in range(seeds)]


def tiny(seeds=4):
    """Return clusters that are small enough to look at every placement."""
    for seed in range(seeds):
        draw = np.random.RandomState(seed)
        models = tuple(
            Model(
                f"m{j}", int(draw.randint(15, 70)) * GIB, Demand(float(draw.randint(1, 11))),
                SLO(latency_seconds=float(draw.randint(5, 11))), overhead_bytes=GIB,
                tensor_parallel=(1, 2), replicas=Replicas(1, 2 if j % 3 == 0 else 1),
            )
            for j in range(7)
        )  # fmt: skip
        nodes = tuple(
            Node(node, tuple(GPU(f"{node}/{k}", "any", 80 * GIB, link=node) for k in range(4)))
            for node in "ab"
        )
        yield Problem(models, Fleet(nodes), Objective.REQUESTS)


def pool(name):
    """Return a real mixed pool."""
    with TemporaryDirectory() as folder:
        path = pools.write_pool(name, 0, Path(folder))
        return [read(path)] if path else []


HARD = (
    "configurations", "domain-filling", "ejection",
    "parallel-exchanges",
)  # fmt: skip
"""Stages asked for in the families that take longest; smaller ones show what the others do."""
FAMILIES = {
    "adrs": Family(partial(named, "adrs")),
    "20x40": Family(partial(named, "20x40", 3)),
    "50x100": Family(partial(named, "50x100", 2)),
    "20x60": Family(partial(named, "20x60", 2)),
    "full": Family(full),
    "tiny-clusters": Family(tiny),
    "stress": Family(partial(named, "stress", 1, 4), 5.0),
    "50x150": Family(partial(named, "50x150", 2), 8.0),
    "scale-3-1k": Family(partial(named, "scale-3-1k"), 8.0),
    "scale-10-1k": Family(partial(named, "scale-10-1k")),
    "scale-3-10k": Family(partial(named, "scale-3-10k")),
    "scale-10-10k": Family(partial(named, "scale-10-10k")),
    "adrs-like": Family(partial(named, "adrs-like", 2, 2), 6.0),
    "small-clusters": Family(partial(clusters, 60, 40, 6, 1), 5.0),
    "clusters-24": Family(partial(clusters, 40, 24, 2, 1), None, HARD),
    "scale-real-3k": Family(partial(named, "scale-real-3k"), 15.0, HARD),
    "lmsys-16": Family(partial(fleet, "lmsys-16", "pressure")),
    "openrouter-47": Family(partial(fleet, "openrouter-47", "pressure"), 6.0),
    "openrouter-60": Family(partial(fleet, "openrouter-60", "pressure"), 6.0, HARD),
    "openrouter-103": Family(partial(fleet, "openrouter-103", "pressure"), 15.0, HARD),
    "openrouter-103-occupancy": Family(partial(fleet, "openrouter-103", "occupancy"), 15.0),
    "alibaba-2023": Family(partial(pool, "alibaba-2023"), 25.0, HARD),
}


def main(arguments):
    names = [name for name in arguments if name != "--page"] or list(FAMILIES)
    if "--page" not in arguments:
        warm = [sys.executable, "-m", "kvplace.solver.large_neighbourhood.warm"]
        subprocess.run(warm, check=True)
        clock.time = SimpleNamespace(perf_counter=time.process_time)
        for name in names:
            record(name)
    results = json.loads(RESULTS.read_text("utf-8"))
    PAGE.write_text(page({name: results[name] for name in FAMILIES if name in results}), "utf-8")


def record(name):
    """Measure one family and write what its stages are worth beside the others' results."""
    family, began = FAMILIES[name], time.process_time()
    if not (cases := list(family.cases())):
        print(f"{name}: left out, there is no {FLEETS.parent}", file=sys.stderr)
        return
    measured = worths(cases, family) | {"commit": commit()}
    results = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    results[name] = measured
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    print(f"{name}: {time.process_time() - began:.0f} s of CPU", file=sys.stderr, flush=True)


def commit():
    """Return the commit that is measured."""
    command = ["git", "rev-parse", "--short=7", "HEAD"]
    done = subprocess.run(command, cwd=PAGE.parent, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def worths(cases, family):
    """Return the number of cases, the limit, the seconds of the whole and each stage's worth."""
    worth = {stage: defaultdict(float) for stage in STAGES}
    whole = 0.0
    for problem in cases:
        result = solve(problem, time_limit=family.limit)
        whole += result.seconds
        for gain in result.stages:
            own = worth[gain.name]
            own["cases"] += 1
            own["seconds"] += gain.seconds
            own["lowered"] += math.log(gain.lowered)
            own["raised"] += math.log(gain.raised)
            if gain.name in family.asked and gain.name not in NEEDED:
                own["asked"] += 1
                left = solve(problem, time_limit=family.limit, without=[gain.name])
                compare(own, result, left)
    ran = {stage: own for stage, own in worth.items() if own["cases"]}
    return {"cases": len(cases), "limit": family.limit, "seconds": whole, "stages": ran}


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


def page(results):
    """Return the page."""
    parts = [HEAD]
    for name, family in results.items():
        cases, limit = family["cases"], family["limit"]
        allowed = f", {limit:g} s allowed" if limit else ""
        each = " each" if limit and cases > 1 else ""
        took = f"{family['seconds']:.2g} s of CPU"
        parts.append(f"## {name}: {cases} case{'s' * (cases > 1)}{allowed}{each}, {took}\n")
        parts.append(f"Commit {family['commit']}.\n")
        parts.append(TABLE)
        for stage, entries in family["stages"].items():
            if stage not in STAGES:  # gone since
                continue
            own = defaultdict(float, entries)
            count = int(own["cases"])
            line = f"| `{stage}` | {count} | {own['seconds']:.2g} s "
            line += f"| {percent(-own['lowered'], count)} | {percent(own['raised'], count)} "
            if own["asked"]:
                line += f"| {percent(own['worse'], count)} ({int(own['cases worse'])}) "
                line += f"| {percent(own['lower'], count)} ({int(own['cases lower'])}) "
                line += f"| {int(own['profile'])} |"
            else:
                line += "| | | |"
            parts.append(line)
        parts.append("")
    return "\n".join([*parts, knobs()])


def knobs() -> str:
    """Return the last table of the page, of the knobs as they are."""
    rows = [
        f"| {name} | `{knob.name}` | {knob.default} | {knob.metadata['unit']} "
        f"| {knob.metadata['found']} |"
        for name, kind in (
            ("undivided", UndividedParams), ("cluster", ClusterParams), ("large", LargeParams),
            ("all", Params),
        )
        for knob in fields(kind)
        if "unit" in knob.metadata
    ]  # fmt: skip
    return "\n".join([KNOBS, *rows]) + "\n"


HEAD = """\
# What each stage of the search is worth

<!-- Written by `python benchmarks/stages.py`. -->

A search is an ordered list of stages: `src/kvplace/solver/strategies/` holds the list for undivided
models, the one for clusters and the one for large fleets. [How kvplace searches](algorithm.md) says
what they do. `kvplace bench FAMILY --solver auto --without STAGE` repeats a line of these tables.

All seconds and limits are CPU seconds of the process, so that other work on the machine does not
change the figures. A family without a limit in its heading has none. `seconds` is what a stage took
in the whole search. `lowered` and `raised` are the factors by which it changed the value and the
bound there, on the geometric mean over the cases on which it ran. `value worse` and `bound lower`
compare a search without the stage, with the number of cases that differ in brackets; a negative
figure says that the other stages do better without it, which happens where what it finds sends
them another way. `balance worse` counts the cases whose other GPUs are less balanced without it.
Empty cells were not asked for: smaller families show what these stages do. Each table names the
commit that it is of, all of November 2026; the processor of 2d6c272 was about half as fast.

Where a limit ends a search, one run differs from the next: openrouter-103-occupancy came out 2 %
better without `pair-exchanges`, and once 10 % worse without `drop-copies`, which comes last and
cannot change the maximum. Smaller differences in the tables of the openrouter fleets are noise.

Where each stage shows:

| stage | family, and what the search is without the stage |
|---|---|
| `balance` | nearly all: GPUs after the worst |
| `configuration-bound` | adrs, 20x40: the bound itself |
| `configurations` | alibaba-2023: value twice as high, bound a third lower; scale-real-3k: 3.7 % |
| `domain-cases` | 14 to 17 models under pressure: 34.9 % above the bound for 3.5, 8.4 for none |
| `domain-filling` | openrouter-103-occupancy: 33 %; openrouter-103: 1.3 %; openrouter-60: 0.4 % |
| `drop-copies` | none by this measure: it takes out copies that bring nothing |
| `ejection` | clusters-24: 14 % |
| `enumeration` | tiny-clusters: it proves what bounds do not |
| `exact-decisions` | 50x100: bound 3.5 % lower; 20x60: value and bound; 50x150 |
| `exact-packing` | full: a fleet is not placed at all; large ones full to 99.9 % neither |
| `group-cover` | 50x150: 0.19 % |
| `iterated-local-search` | 20x60, stress, scale-3-1k: 1 to 4 % |
| `leximax` | adrs: it proves the balance |
| `pair-exchanges`, `parallel-exchanges` | the scale families, up to 69 % |

Annealing and ruin and recreate decided nothing and were deleted; ejection repairs what `refine` is
given. Without annealing and the moves of whole copies after each filling, at equal CPU seconds,
openrouter-60 by occupancy came to 0.35 to 0.40 in five runs, for 0.40; openrouter-60 and
openrouter-103, and clusters of 40 and 60 models, came to the same within 0.6 %.

Filling link domains by dynamic programs (`domain-patterns`) was measured and deleted: domain
filling does as much. At 12 s of CPU openrouter-103 without least KV, by occupancy, came to gaps of
7.5 and 7.5 % with it and of 8.0 and 6.4 % without (two seeds), openrouter-60 to the same value
within 0.4 %, and clusters-24 to one no worse.

A step of descents that traded a copy of a split model for shards of another link domain was deleted
with commit 349b9cd: it was made 5 times in 12 searches, and without it 17 of 18 cases (clusters of
24 to 48 GPUs, tiny ones, adrs-like, openrouter-60 and openrouter-103, scale-real-3k), at equal CPU
seconds, came to the same value within noise; openrouter-103-occupancy came out 4 % better.

Other company for a hot model after every fourth kick (bin completion) was deleted: of 42 cases of
stress, 20x60, 50x150 and scale-3-1k at 1.5 to 6 s of CPU, four came out 0.01 to 0.07 % worse
without it, eight 0.01 to 0.25 % better, and one was proved.

`leximax` proves that no placement balances the other GPUs better: to the last GPU on 44 of the 50
cases of ADRS, of which it betters the balance of one.

Bounds by price functions (`lifted-bound`, `stepped-bound`, `dual-feasible-bound`) were measured
and deleted: the configuration programs that come after them say as much. Without all three, and
without a local search, the bound of 800 models on 400 GPUs fell by 0.03 %, that of 620 on 310
rose by 0.01 %, and those of 100x200 and of 900 models on 300 GPUs did not move. At 1 to 2 s of
CPU three seeds of 20x50 were proved as before, and of twelve cases of stress one bound was 0.04 %
lower, one 0.006 % higher, and ten were as they were. One idea of theirs came back as the first
prices of the configuration program, for the one case of the twelve where it missed: a model that
needs more than half of a GPU is priced at all that it takes there. stress-7-5 (96 models on 24
GPUs) has a bound of 0.6803 again, 1.65 % above the fluid one, at 0.6 s of CPU. Without these prices
three of 12 cases of stress end 0.6 to 1.6 % further above their bounds after 2 s. They were asked
for before any search, too; without that 21 cases of 20x50, 20x60, 50x100 and stress came to the
same values, with gaps that differ by at most 0.0004 %.

Measured with commits 9ba0de9 to 2d6c272, one seed each, at equal CPU seconds, and kept: without
`group-cover` two of three cases of 50x150 end 0.12 and 0.08 % higher after 8 s, the third, 20x60
and five cases of stress as before. Without size classes under several pressures the bound of
openrouter-103 is 12 % lower after 14 s; those of openrouter-60 and of two drawn fleets of 3 and 6
windows are the same. Without partners among all, scale-3-10k ends 0.08 % above its bound after 8 s,
for 0.04 %. The steps that place a model anew (another copy, another split, other seats) bring
nothing to searches, but to `refine`: of 96 tiny fleets with split models and rules, improved from
random placements, 19 end worse without them. Without the dive that makes options whole before a
cover by known sets, openrouter-60 by pressure ends 0.67 % above its bound after 20 s, for 0.07,
though by occupancy it is proved after 8 s, for 7 %, and three drawn fleets end the same. Without
sets by first fit to begin with, the bound of 2,000 models on 1,200 GPUs is 3 % lower after 12 s.

That dive goes back where the options it has made whole are impossible together, and partial sets
that lead nowhere are sorted out before they are made, which takes half of the time of pricing
openrouter-60. By pressure it ends 0.24, 1.3 and 1.2 % above its bound after 10 s of CPU (seeds 0 to
2), for 2.8, 1.2 and 2.7 at 1a6f5a9; eight larger clusters end the same.

Where the first rule of `start` leaves models out, link domains are filled by memory alone, and
then at eight lower targets, in the place of 19 further rules. At 10 s of CPU under pressure, seed
0, drawn clusters of 80 to 250 GPUs end beside 820b471 as follows: three without a plan are proved,
1.9 % and 86 % above their bounds, 31 % is proved, 27.8 becomes 21.9, 25.3 becomes 23.7, 12.7 (value
1.377) becomes 16.8 (1.368), one is proved in 4.8 s for 5.9, and one ends at 43 % for 40. Starts
take 1.1 to 1.8 s for 1.4 to 7.

Leaving out models that can be in no dear set, before tables for sets are made, decided little in
11 runs of 10 fleets at 2 to 15 s of CPU (seven ended the same without it, three nearer to the
bound, one further from it). openrouter-103 by occupancy, at 20 s of wall time on idle cores, has a
bound of 0.877 with it; of three runs without it two have one of 0.867, and one no more than at the
start. So it stays.

Steps that lower what GPUs hold too much were said twice: by exchanges of a table of their own with
chains over several GPUs, and by handing shards out anew. What packs fleets that are nearly full is
the latter alone now, with more patience on few GPUs: of fleets of 6 GPUs, each full to 99.6 %, it
packs 8 of 8 for 5 of 8, in 0.3 s of processor time for 0.15; of 10 GPUs with 30 models, full to
99.5 %, 6 of 8 for 2 of 8; 20 to 30 GPUs with 80 and 240 models all, as before. Where KV must be
left, a shard counts with the larger of its two sizes when shards are handed out anew; exchanges of
one or two shards mend the rest. Exchanges alone took 29 s of CPU for a pool of 2026 (19,604 models,
10,412 GPUs), where both take 6 s. That start now ends at 0.4777 after 22 s, for 0.4815 after 43 s,
as least KV is rounded to the nearest level too. Placing the tail of a pool first, by a dive, was
deleted for it: a pool of 2023 ended 1.2 % above its bound (0.7477), and is at 0.7386 after 8 s
without. Handing out alone left too much: that pool of 2026 at 0.4875, one of 2023 at 0.80 for 0.75.

Starts of clusters by rules that put each model where the least pressure is afterwards, and not
where least room is left, were deleted: without them six of seven clusters (drawn ones of 28 to 48
GPUs under pressure and by occupancy, some with rules, and one whose hot models fit only in several
copies) came to the same values and bounds after 4 to 8 s of CPU, one to a value 1.8 % lower. With
one limit on a shard in place of up to nine, a cluster with rules ended 12.1 % above its bound for
4.1, so these stay (40d1f85).

Further constructions of a tiny cluster whose placements are too many to look at were deleted: six
of 8 GPUs and 8 models came to the same values without them after 2 s of CPU, to a bound 0.5 %
higher in one case (d78c42d). Pairing all GPUs with their opposites in large fleets stays: without
it five fleets of 1,000 to 100,000 GPUs ended nearer to their bound three times and further from it
twice, by 0.06 % at most, but a million models 0.02 % above it after 24 s, for 0.

Undivided models of a start are placed one by one, as split ones are. Placing runs of them together,
each where the least is left of room and of memory beside the KV that must be left, was deleted: six
drawn clusters of 300 to 700 models came to the same value in the same time, three pools after 10 s
to the same in two runs of four, nearer to the bound in one (71 % for 90) and further from it in one
(78 % for 67, which another run of the same did not show). A start of 9,300 models at one target
takes 1.75 s for 0.54, of 3,000 models 0.3 s as before.

The configuration program was asked with few options of each model before its first target with all,
where there are more than eight each. Without that, openrouter-103 by occupancy and two drawn
clusters with 22 and 29 options per model come to the same values and bounds after 5 to 9 s of CPU,
and one with 32 under pressure ends 24 % above its bound for 31 (19fc110): deleted.

Large fleets of undivided models that no order packs are packed by exchanges: what a model must have
is its load there, and the pressure what a GPU holds of its memory. Drawn fleets of 400 to 1,600
GPUs with 1.5 to 5.5 models each, full to 97 to 99.9 %, are packed so in 0.02 to 0.2 s of processor
time; two of 4,000 models on 1,600 GPUs, full to 99.9 %, had no plan. Where more than the memory is
needed, the program over size classes proves it in 1.3 to 1.9 s. Up to 5,000 GPUs kicks follow where
such exchanges no longer help. At 5 to 20 s a fleet 47 % above its bound is proved, others come from
12, 20 and 14 % to 5.4, 6.3 and 5.8 %, and scale-3-10k from 0.037 and 0.086 to 0.026 and 0.032 %
(beside a7a94c3).

Between 600 and 2,000 models exchanges between many pairs take the place of kicks in Python. At 5 s,
fleets of 160 to 1,000 GPUs full to 70 to 98.5 %: four of seven are proved after 0.2 to 0.7 s for
1.6 to 4.4, one after 1.5 for 1.3, the others as far from the bound as after 15 s; two full to 95 %
end 2.8 and 7.1 % above it for 38 and 16, two where KV must be left are proved for 10 and 9.5 %, and
one of 400 GPUs whose search took 23 s is in time. One of four of 400 GPUs with two models each,
full to 98 %, ends at 46 % for 33.

Under several pressures with rules, starts of many models and GPUs tried a dozen targets that
memory had no room for. Once the first fail, one far above the bound says so, and what is left out
is packed at once. At 15 s, of 800 GPUs with four models each, full to 99.9 %, two seeds without a
plan are proved and 38 % above the bound; 400 GPUs where KV must be left end 1.15 % above it for
1.6; three that are less full the same.

All sets of a small fleet given to its configuration program at once, where they are few, were
deleted: pricing finds those that matter. At 2 to 5 s of processor time 50 cases of ADRS, one each
of 20x40, 50x100 and 50x150, two of 20x60 and twelve of stress came to the same values and bounds;
ADRS takes 0.014 s longer per case. A cover searched in Python before an integer program was tried
without, and stays: two of 17 cases lose their proof. The exchanges by excess of large fleets under
several pressures stay too: without them 300 GPUs with 2,400 models and 12 windows end 3.1 % above
the bound after 10 s, for 3.5, 100 GPUs with 800 models and 3 windows 0.12 %, for 0.09, and three
fleets of scale under pressure the same; one seed each.

Undivided models under several pressures are exchanged with kicks before covers by known sets and
exact decisions. Of 19 drawn fleets of 6 to 20 GPUs with 3 to 6 models each, full to 85 to 94 %, at
6 s of CPU, 14 are proved for 13: five in 0.3 to 2.1 s for 1 to 6 s, two a second later, as compiled
code is loaded; gaps of 0.47 and 0.21 % are closed, one of 5.0 comes to 4.2 %. Of 25 drawn before,
gaps of 0.98 and 2.1 % came down to 0 and 0.19 %. Where models may be split the exchanges stay
behind: before, they took 1 to 3 s of 8 from exact decisions, and brought nothing to 25 clusters.

Sets are priced under two limits together, by a table over the rooms of both, once prices of one
limit each find no set that is missing and cannot say that none is. Of fleets with five or six
models per GPU under pressure, full to 94 %, three had the fluid bound only, as far as 2.5 to 4.6 %
below their values at 15 s of CPU; two now have one 0.6 and 0.7 % below, which takes 3 to 5 s. Split
models are priced exactly without, and bounds of five clusters came to the same in the same time.
Worths of a certificate are raised by most of what models are priced above all GPUs: a check that
gave up after 19 s of CPU takes 0.07 s.

Compiled kicks come last in a round of small fleets, so that fleets which exact decisions prove load
no kernels. Without them three of six cases of stress end 0.04 to 0.12 % further above their bounds
after 5 s. Under several pressures they come before ejection: after it none of eight fleets came to
them at 4 to 12 s, and 50 GPUs with 600 undivided models and 6 windows end 0.30 % above the bound
with them first, 1.36 % with ejection first.

Two kernels looked for the best exchange of a pair under several pressures: by the larger pressure,
and by what is above a target. One compares subsets for both now, in sums of 24 bits, and what the
best comes to is added up exactly before it is made. Nine drawn fleets of 30 to 1,000 GPUs with 3 to
24 windows, and three of scale-10 under pressure, at 5 to 20 s of CPU beside 734929c: ten came to
the same value, one ended 0.04 % further from its bound, one 0.02 % nearer, and the seconds of each
stage were the same.

Ablated at 734929c, one seed each, and kept: without `best_fit_index` clusters of 300 to 1,200
models end 7.5, 8.2 and 10.5 % above their bounds after 8 to 12 s, for 4.9, 6.5 and 7.0, as starts
take up to seven times as long; dealing all models out at once in its place, 6.6, 27 and 42 %.
Without partners among all, scale-3-100k ends at 0.16 % after 14 s, for 0.006, two of scale-3-10k at
0.05 and 0.07, for 0.04, and 9,000 models on 3,000 GPUs the same. Without `group-cover` two further
cases of 50x150 end at 0.29 and 0.17 % after 8 s, for 0.16 and 0.09, with a cover by known sets in
its place at 0.34 and 0.17; 20x60 and four cases of stress do not need it.

Where few of many models share a GPU, first fit at a bisected target is a second start. Without it
four fleets of 1,200 to 1,650 GPUs with 2 to 2.4 models each, like ADRS, end 21, 19, 3.4 and 0.9 %
above their bounds after 8 s of CPU, for 0.8, 1.5, 1.5 and 0.4, one of 2.7 models at 0.7 for 2.2,
and 2,400 models on 1,200 GPUs at 16 for 0.3 (commit ccfdf68). Seven others of 2.25 to 2.67 models
end nearer without it, by 0.6 % on average, so it stays.

Pairs of levels, for the KV that must be left, stay: where half of 720 models on 480 GPUs are left
10 GiB and the others nothing, the bound is 11 % lower without them after 12 s of CPU. Without them
the bounds of six clusters of 800 to 2,500 models are the same, those of a pool of 2023 and of three
of 2026 0.6 % and 0.15 % higher, 0.26 and 0.28 % lower after 40 to 60 s (734929c and 4230dd0).

Fillings of link domains give a model that finds no place another number of copies under several
pressures alone. Without that, four of four clusters under pressure end 5 to 19 % higher after 10 s
of CPU (L803, l11, l12 and g2 of drawn fleets). Under one pressure, of 19 runs without it at 6 to
16 s beside 4230dd0, eight ended 0.2 to 5 % nearer to their bounds, three 0.4 to 3.9 % further from
them, eight the same.

Ablated at 4230dd0, at equal CPU seconds, and kept. Without `group-cover` three further cases of
50x150 end 0.03, 0.19 and 0.27 % above their bounds after 10 s, for 0, 0.06 and 0. With exchanges by
trial under one pressure, too, as under several, scale-3-10k ends at 0.23 % for 0.04, and five of
eight other cases of scale take 1.6 to 10 times as long. Looking at the 31 GPUs with
most room alone, 100 GPUs with 12 windows end at 3.3 % for 3.1, 300 with 24 at 8.0 % for 6.2, and
four with up to 6 windows the same. With all models in tables for sets, the bound of openrouter-103
by occupancy is 3.6 % lower after 16 s. With the targets of exact decisions in place of a climb from
below, the bound of a drawn cluster under pressure is 14 % lower after 10 s, of seven others from
1.2 % lower to 0.1 % higher. Starts rounded and filled once, without trying again at targets a
little above, leave five of scale-real-3k at 0.6 to 4.3 % after 20 s, for 0.9 to 4.2: one nearer,
four further. Without the last exchanges of a start one of these ends at 1.2 % for 0.9. On two grids
for targets in place of three, the bound of 200 models on 120 GPUs is 12 % lower after 6 s.

Several pressures are weighed for each kind of GPU by itself before sets are made, and the program
begins with these prices. Beside 4230dd0, at 10 s of CPU and one seed each on a slow machine, eight
of 14 drawn clusters end nearer to their bounds (61 to 25 %, 43 to 21, 26 to 17, 17 to 7.3, 11 to
8.8, 2.94 to 2.87; two are proved, after 3.4 and 0.003 %), three the same, and three further (4.3 to
4.8 %, 0.6 to 1.2, and 7.3 to 19, where certificates took too long to check). Openrouter-60 by
occupancy ended 1.4 % above its bound where split models under one pressure were priced so, too, and
is proved without.

Many undivided models under several pressures got no plan at once where memory was nearly full;
first fit by memory is the start there now. Three drawn fleets of 60 to 150 GPUs, 98.5 to 99.5 %
full, end 0.01, 0.3 and 50 % above their bounds after 3 to 7 s of CPU. Looking at every GPU for each
model, and not at the 31 with most room, stays: two fleets that are 96 and 98.5 % full end 3.8 and
0.02 % above their bounds with it, 202 and 0.1 % without; of seven with room, two end nearer without
(1.0 for 2.9 and 0 for 0.5 %), one further from it (0.3 for 0.1), four the same.

Link domains of clusters of 128 to 1,000 models times GPUs are filled anew, too, since after
1a6f5a9. Beside it, at 10 s of CPU under pressure, one seed each on a busy machine, 13 of the drawn
clusters of 8 to 40 GPUs with 9 to 28 models end nearer to their bounds (15.0 to 1.7 %, 13.3 to
proved, 13.3 to 9.1, 11.1 to 8.4, 10.7 to 4.6, 10.1 to 2.4, 7.6 to 4.3, 5.9 to 0.1, 3.3 to 0.3, 2.7
to 0.6, 2.4 to 1.8, 2.4 to 0.1, 2.2 to 0.1), two further (7.7 to 9.4, 1.6 to 2.0), one that is
proved takes 2.5 s for 0.8, and a dozen are the same or proved both times. By occupancy at 6 s, of
five three end nearer (12.1 to 0.3, 13.3 to 3.5, 26 to 22) and one further (2.7 to 5.9). With 88 and
104 models times GPUs, two that are proved without end 1.1 and 0.05 % above their bounds: they are
left out. Where options times link domains are few, a cover by known sets is sought from far above
the bound, too: without, one of them ends at 24 %, for 13.

Link domains are filled at several targets at once after 975d566, and near the value from what is
placed. Beside a7a94c3, 10 s of CPU, one seed on a busy machine: drawn clusters of 50 to 120 models
end under pressure 29.5 % above their bounds for 43, 18.1 for 24.6, 19.7 for 18.3, 17.1 for 11.3;
openrouter-60 0.08 and 2.5 % for 0.25 and 1.2, and by occupancy it is proved in 6.6 s for 7.8.
openrouter-103 by occupancy ends at 0.937 after 10 s, for 0.940 after 20. Room left in fewer places
decides between fillings that leave the same over: at targets that are hard to reach, 60 fillings
each, 0.68 of a GPU is left over in the mean of four for 1.18. From what is placed, with a third of
the heat, a target an eighth of the gap below the value is reached in 11 of 13 tries for 5 of 9.
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
