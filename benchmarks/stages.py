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
what they do. This page is for who changes the search. It has three parts: on which cases each stage
pays; what was tried beside it, and by which figures it was kept or deleted; tables of measurements.

## Where each stage shows

The value of a plan is the pressure of its worst GPU. A percentage says how much higher the value is
where the stage is left out. The names of cases are those of `kvplace bench`.

| stage | cases on which leaving it out shows, and what then gets worse |
|---|---|
| `balance` | nearly all: the GPUs after the worst |
| `configuration-bound` | adrs, 20x40, 700 models on 330 GPUs in 3 windows: the bound |
| `configurations` | alibaba-2023: value twice as high, bound a third lower; scale-real-3k: 3.7 % |
| `domain-cases` | 14 to 17 models under pressure: a gap of 34.9 % for 3.5, and of 8.4 for 0 |
| `domain-filling` | openrouter-103-occupancy: 33 %; openrouter-103: 1.3 %; openrouter-60: 0.4 % |
| `domain-program` | openrouter-103: a gap of 20.7 % for 9.6 at 20 s; by occupancy 3.4 for 1.7 |
| `drop-copies` | none: it takes out copies that are of no use, which the value does not show |
| `ejection` | clusters-24: 14 % |
| `enumeration` | tiny-clusters: it proves what bounds do not |
| `exact-decisions` | 50x100: bound 3.5 % lower; 20x60: value and bound; 50x150 |
| `exact-packing` | full: a fleet is not placed at all; large ones full to 99.9 % neither |
| `gpu-filling` | 5,000 models on 1,000 GPUs in 24 noisy windows: a gap of 4.2 % for 3.5 |
| `group-cover` | 50x150: 0.19 %; fleets full to the last 1 %: several times the bound |
| `iterated-local-search` | 20x60, stress, scale-3-1k: 1 to 4 % |
| `leximax` | adrs: it proves the balance, to the last GPU in 44 of 50 cases |
| `pair-exchanges`, `parallel-exchanges` | the scale families, up to 69 % |

## What was tried

A percentage is the gap at the end of a search: how far its value is above its bound. "4.4 % for
22.6" gives two gaps: that of a search as the line says, and that of the search that it is compared
with, after equal processor time. "Proved" is a gap of 0. Nearly all figures are of one seed on a
busy machine, so that small differences between single runs are noise. A commit in brackets is the
state that was compared with.

### Starts

Kept:

- Link domains filled by memory alone, then at eight lower targets, where the first rule of best fit
  leaves models out. Drawn clusters of 80 to 250 GPUs under pressure, 10 s (820b471): three had no
  plan, and are proved, at 1.9 and at 86 %; proved for 31 %; 21.9 for 27.8, 23.7 for 25.3, 16.8 for
  12.7 (at a lower value), 43 for 40.
- Up to nine limits on the size of a shard: with one, a cluster with rules 12.1 % for 4.1 (40d1f85).
- First fit at a bisected target as a second start of large fleets with few models per GPU: without,
  2 to 2.4 models per GPU 21, 19, 3.4 and 0.9 % for 0.8, 1.5, 1.5 and 0.4; seven others end nearer
  without, by 0.6 % on average (ccfdf68).
- Under several pressures, each GPU looked at for each model: with the 31 that have most room alone,
  202 and 0.1 % for 3.8 and 0.02 where memory is nearly full, 8.0 for 6.2 with 24 windows; with room
  to spare, two of seven end nearer.
- Memory that is nearly full: shards handed out anew pack 8 of 8 fleets of 6 GPUs full to 99.6 %,
  where exchanges with chains packed 5. Exchanges with memory as the load pack 400 to 1,600 GPUs
  full to 97 to 99.9 % in 0.02 to 0.2 s; two of 4,000 models had no plan. Too little memory is
  proved in 1.3 to 1.9 s. Of fleets under several pressures that had no plan at once, first fit by
  memory brings three, full to 98.5 to 99.5 %, to 0.01, 0.3 and 50 %; with rules, two of 800 GPUs
  full to 99.9 % are proved and at 38 %.
- Shards that rounding leaves over go where they displace the smallest ones, and none goes where it
  would not fit alone: 4.4 % for 22.6, 41 for 547 (2,076 and 2,279 models, 20 s, fc370c5). Ejection
  of them took 15 ms a copy and placed nothing in 4,000.
- More than 20,000 models dealt just above the bound and handed out anew (ce58263b beside 9b31fa59,
  20 s of CPU). 200,000 models on 100,000 GPUs: scale-real-200k 0.66 % for 25.6, in 20.0 s for 24.2;
  a quarter split, 0.5 for 41; three kinds of GPU and rules, 1.0 for 88, in 18 s for 26; two kinds,
  0.8 (the start alone) for 41 (after 60 s). 30,000 models on 8,000 GPUs, a third left 2 GiB: 0.6
  for 4.1. The configuration program took all of the time there, or met no target.
- Very many models dealt at the nearest target however short the time is, and then half of the time
  left for each target at which shards are handed out anew; before, models were dealt at farther
  targets where time was short (beside 004f0e78, limit 20 s). On a machine so busy that no time is
  left for this, 200,000 models end at 13.5 % after 22.8 s of CPU, for 100 % after 27.4. The shorter
  time is due to assignments that are made by arrays, and to less garbage collection.
  Targets from 0.04 above the bound on without a clock, for 0.16: with no time left 3.9, 3.4 and
  4.3 % on three fleets, in half a second more; at 20 s the one with rules 1.9 for 13.2, partly as
  the machine was less busy.
- Shards of two GPUs given on to one: without, that start of scale-real-200k ends at 2.7 %. Split
  shards dealt as all others where they are few: 8.0 % for 0.7 on two kinds of GPU. Split shards
  dealt before all others where they need more GPUs than there are: one GPU in fifty is left 2 to
  5 % too full. What finds no room put where most room is left: 11 to 13 %.

Deleted, as the search does as well without:

- A sorted index for best fit: without it, of ten clusters of 16 to 900 models seven end the same,
  three nearer (9.5 to 6.6 %, 6.5 to 6.1, 0.25 to 0.23). Starts from configurations have come since.
- Rules that put a model where least pressure is afterwards: six of seven clusters the same, one to
  a value 1.8 % lower. Further constructions of a tiny cluster: six the same (d78c42d).
- A second start of small fleets, by best fit to the last digit of its target, and other orders of
  the ways to pack memory for few and for many models: 19 fleets of 20x40 to 50x100 are proved as
  before, in 6.3 s for 6.9, and four of 8 full GPUs end the same.
- Runs of undivided models placed together: six clusters of 300 to 700 models the same; three pools
  once nearer, once further, twice the same; a start of 9,300 models takes 1.75 s for 0.54.

### Fillings of link domains, and ejection

- Several targets at once, and near the value from what is placed (a7a94c3): at 10 s under pressure,
  50 to 120 models 29.5 % for 43, 18.1 for 24.6, 19.7 for 18.3, 17.1 for 11.3; openrouter-103 by
  occupancy at 0.937 after 10 s, for 0.940 after 20. Room left in fewer places decides between
  fillings that leave as much over: 0.68 of a GPU is left for 1.18.
- Under one pressure targets further below the value after each that is reached, and nearer after
  each that is not, for four from half of the gap down; single copies that move between fillings
  (deleted since); and a fifth of the time left for ejection (beside 03ad95d). By occupancy, 8 s of
  CPU: of nine drawn clusters 26 to 13 %, 30 to proved, 10.4 to 7.9, 72 to 69, one 2.8 as before,
  four proved before and after. openrouter-103 at 20 s 2.3 to 3.4, 4.2 to 2.3, 4.6 as before; once
  the bound is known fillings have its core, too: on two cores 3.4 to 3.2, 2.3 to 1.9, 4.9 to 4.2,
  and 2.9 to 1.9 at 60 s. A target of 0.904 is reached there four times in eight within 3 s, where
  two fillings of a domain are compared once in eight within 5. Under several pressures all this is
  worse: 1.6 to 6.6, 3.6 to 15.6, 0.8 to 3.5 %, and with the targets alone one is at 36 that is
  proved without.
- From 128 models times GPUs on, in place of 1,000 (1a6f5a9): of 28 clusters under pressure 13 end
  nearer (15.0 to 1.7, 13.3 to proved, 10.7 to 4.6, 10.1 to 2.4 %), two further (7.7 to 9.4, 1.6 to
  2.0); by occupancy three of five nearer, one further (2.7 to 5.9). Below, two lose their proof.
- Other numbers of copies for what finds no place, under several pressures alone: without, four of
  four clusters end 5 to 19 % higher. Under one pressure eight of 19 end nearer without.
- Filled up to 8e9 models x options x GPUs, for 2e6 options x GPUs (15 s of CPU, drawn clusters of
  real models, beside e57ed95a): 180 models on 680 GPUs proved for 14.1 % by occupancy and for 3.5
  under pressure, 300 on 1,008 5.1 for 9.7 and 0.02 for 85, 220 on 736 proved for 0.001, on 1,456
  2.9 % for no plan, 420 on 1,288 32 for 104, one proved either way. 3,000 models on 2,000 GPUs are
  beyond it: one solution of the program takes minutes there.
- Deleted: fillings that go on with the same effort while the value is far above the bound. They
  took all time of the second pass, which the program of whole domains has now. Three drawn clusters
  of 45 models, 20 s of CPU (beside 24b94831): 14 % for 53, 8.9 for 10.1, 136 for 136; eight more of
  36 to 75 models at 12 s the same.
- Deleted: a few moves at random after one ejection in ten. Four clusters of 40 models on 24 GPUs,
  one of 250 and three of real models end the same without (820f1814, two without a limit).
- Deleted: moves of single copies between fillings, which push out what is in the way (eight drawn
  clusters by occupancy, 8 s of CPU: five the same, 3.3 to 3.1 %, 6.7 to 7.2, 0.6 to 0.9 without;
  openrouter-103 4.6 to 4.2 at 12 s); fillings by dynamic programs (`domain-patterns`;
  openrouter-103 without least KV 8.0 and 6.4 % for 7.5 and 7.5); annealing of copies and moves of
  whole ones after each filling
  (openrouter-60 0.35 to 0.40 for 0.40); a copy of a split model traded for shards of another domain
  (made 5 times in 12 searches; 17 of 18 cases the same, one 4 % better).
- Not taken, on openrouter-103 by occupancy: guided ejection by compiled kernels (2.3 GPUs of room
  are left over after 28,000 steps as before, for 0.8); moves without fillings; what copies are
  worth from the prices of the configuration program; targets that rise from what was left over.

### The program of whole link domains

Kept, all on openrouter-103 (before: 20.7 % at 20 s by pressure, 3.4 by occupancy):

- Fillings that annealing made as columns, and dives (beside c239d2b3). Annealing alone leaves 0.5
  to 1.5 GPUs over at 6.9 by pressure in 12 s; the program over all that it filled meanwhile leaves
  none, and the fifth dive into it, 5 s later, is a plan. So is one at 6.3 (bound 5.79). By
  occupancy the first or second dive at 0.892 is one (bound 0.878), for 0.905 at best before.
- 20 s of CPU: by pressure 9.6 % for 20.7, by occupancy 2.5 and 1.6 % (two seeds) for 3.4. Drawn
  clusters under pressure at 10 s: 4.6 % for 6.8, one 3.0 for 2.6, others proved as before.
- Targets by bisection, from which no dive is made where the program leaves 0.05 of a GPU over, in
  place of parts of the gap and dives from 0.3 down: openrouter-103 by occupancy 1.7 % for 2.6, a
  drawn cluster 0.98 for 4.9 (25.5 without the program), one under pressure the same (9.5 %). With
  dives for as long as each sixth leaves less over: 15.3 % by pressure for 9.5.
- Fillings go on before the program for as long as they lower the gap by a quarter: 385 models on 60
  nodes, each node with a pinned model of its own size, end 32 % above the bound after 6 s, for 52
  where fillings have a seventh of the time (42 without the program); openrouter-103 is the same.
- A small price on each domain: without, a program that leaves nothing over has no prices, and a
  dive takes any fillings that do; at 0.90 by occupancy eight dives leave 0.14 of a GPU, with it the
  first is a plan.
- Many short searches for dear fillings: from 16 fillings 50 steps each the program leaves none over
  at 6.3 after 2 s, from three 300 steps each 0.12 of a GPU, from one 1,000 steps 0.19. Prices
  smoothed by 0.3 to 0.6 halve what is left after 2.5 s at 6.0, by 0.8 they do not.
- Options with other numbers of copies in the program: 0.17 of a GPU over at 6.0 for 0.28.
- The price on each domain at 0.04, for 0.1, where small models were left over beside idle domains;
  any number of copies after a target that is missed, until another one is; under several pressures
  the first target at a quarter of the gap below the value, for half of it (10 to 15 s of CPU,
  clusters under pressure, beside c10dd66e). 120 GPUs in 3 windows 4.0 to 0.3 %, four of 96 GPUs
  8.2 to 2.0, 9.0 to 5.4, 4.7 to 8.0 and proved to 0.9; openrouter-60 on three seeds 1.6, 0.07 and
  2.6 to 1.6, 0.07 and 0.07; openrouter-103 by occupancy 1.76 to 1.51. Of 32 more, 20 are proved, or
  proved to have no room, as before; the others 11.0 to 9.1 %, 1.7 to 1.5, 0.11 to 0.06, 2.5 to 2.7,
  0.08 to 0.18, 0.55 to 0.57, and six as before. The price alone: 4.0 to 0.5, by occupancy 2.7 to
  1.7. Any number always: openrouter-103 by pressure 20.7 for 8.3. Any number in the second pass
  alone: of 18 runs twelve end further, five nearer.
- Under several pressures, numbers of copies that the configuration program chooses at each target,
  where that was asked before, and dives that choose them first (beside 24b94831, 10 s of CPU, drawn
  clusters under pressure): 12.9 to 3.6 % above the bound, 8.0 to 0.3, 2.8 to proved, one 0.79 to
  0.87, 12 as before. With the numbers that take least room, that program proves that of these
  clusters one cannot be below 1.5, where it is below 1.39 with others. openrouter-103 at 20 s 8.3
  and 9.5 % (two seeds) for 8.6 and 9.5, by occupancy 1.6 for 1.7. Asked before the first fillings,
  when no set is known, one is at 13.4 % for 11.5, and proofs take 0.7 s longer. No other numbers
  tried by fillings beside: 19.8 % for 11.5, 5.4 for 3.0. In the program only the numbers chosen:
  9.6 and 8.8 % for 8.3 and 9.5, by occupancy 1.5 for 1.7.
  Under one pressure as well (the two before it beside, 12 and 20 s of CPU, drawn clusters by
  occupancy): 136 to 7.3 %, 13.9 to proved in 1.2 s, 2.2 to 0.8, 1.94 to 1.87, one proved in 4 s for
  11, one 3.4, 6.9 and 6.2 to 6.1, 7.5 and 6.1 (three seeds), six as before; openrouter-103 1.55 and
  1.60 for 1.59 and 1.74. There, where small GPUs are idle, four copies on them may cost less than
  one on GPUs that others need. Covers by known sets of up to 8,000 options beside: one 2.5 for 1.9.

Not taken: openrouter-103 by pressure, up to 200 rounds of fillings, with the last prices where the
smoothed ones find none: 0.21 of a GPU is left over at 6.07, 0.19 at 6.15, 0.07 at 6.22 and 0.06 at
6.28, where plans at 6.27 exist; worth for room by random mixes of the pressures leaves 0.21, too.
Also: an integer program over 5,600 fillings (0.58 of a GPU over after 7 s, where the best filling
alone leaves 0.51); annealing from what a dive leaves over (it placed nothing in 24 tries); a fifth
to two fifths of the domains filled anew by the next dive (the same fillings again).

What keeps openrouter-103 by pressure at 8 %: most GPUs are full by the KV that must be left, which
no target changes; seven nodes are short of time. So the configuration program leaves 0.05 of 240
GPUs unused at 5.85, 0.19 at 6.07, 0.24 at 6.2 and 0.37 at 6.35. A value 5 % above the bound may
waste 0.19; the plan at 6.35 wastes 0.37, nearly all of it on four nodes of many small models. At
6.07 the program of whole nodes, with the fillings below, leaves 0.07 to 0.11 over, so that a plan
there seems unlikely, and most of the gap is the bound. Of the 23 models that the configuration
program mixes at 5.95, one degree alone for any of them takes 0.02 of a GPU more at most where that
is the best degree for it, and 0.11 more are needed to raise the bound.

Not taken there: fillings in which the copies of one degree on some GPUs are replaced by the dearest
that fit together, found depth first. The program leaves 0.12 over at 6.07 after 1.2 s, for 0.26,
and 0.07 to 0.11 after 4 s, for 0.17. But runs of 20 s end at 9.6 and 8.5 % on two seeds, for 8.3
and 15.4 (CPU; HiGHS, which counts wall time, had eight times as long), and three drawn clusters of
30 to 87 models as before: dives into what leaves 0.02 over miss. Of several fillings the one by
which least is left over, in each step of a dive: 0.12 for 0.31 over at 6.21, in three times the
time. Fillings given up before the next dive that cost most beside the others: 6.27 is met, as
without. Fewer numbers of copies chosen at once where more is left over then: a cluster of 45 models
at 9.4 % after 8 s for 10.5, with all of the above; 10.5 where one that alone is too many is ruled
out. Single runs, not followed further.

### Exchanges and kicks

- Partners among all by sorted sizes: without, scale-3-100k 0.16 % for 0.006, scale-3-10k 0.05 to
  0.08 for 0.04. All GPUs paired with their opposites: without, a million models 0.02 % for 0,
  five smaller fleets within 0.06 % either way; where all ways to share out are compared
  (8b128c5a), ten models per GPU 0.04 to 0.09 % for 0.001 to 0.002 without a limit, three per GPU
  the same. By trial, as under several pressures, scale-3-10k 0.23 % for 0.04, and others take 1.6
  to 10 times as long.
- By excess under several pressures: without, 3.1 % for 3.5 and 0.12 for 0.09, three the same. After
  some turns the hottest GPU exchanges with all others: 5,000 models in 24 windows come to 1.97,
  2.00 and 1.86 % after 20 s on two cores (three seeds), for 2.4 and 2.07.
- Under several pressures 512 ways to share out two GPUs are summed side by side, and one is drawn
  at a low temperature, in place of exchanges of up to three models that lower the excess (beside
  9b31fa59, one seed each, 20 s of CPU on a busy machine). 5,000 models, 1,000 GPUs and 24 windows,
  by how demand goes with the hour: a sine of three phases with 10 % of noise 4.20 % for 4.63, one
  smooth shape shifted by whole hours 2.08 for 2.47, bumps of any width 2.37 for 2.52, business
  hours in three zones 0.017 for 0.024; a cosine of any phase 0.68 for 0.63. At 8 s: 700 models in
  12 windows 4.5 for 5.5, 240 in 24 1.48 for 1.78, 900 in 24 2.17 for 2.49, 1,500 in 6 0.49 for
  0.54. Fresh ones: 3,000 models on three kinds 0.50 for 0.68, 1,000 in 8 windows 2.2 for 2.7, 5,000
  on two kinds in 24 windows 6.6 for 8.8 (20 s), 800 on 60 GPUs 0.014 for 0.009. 60,000 on 6,000
  GPUs under four pressures 1.05 for 2.9 (15 s). Up to 500 models in 2 to 4 windows, 6 s: of seven
  three end nearer (0.21 for 0.25, 0.89 for 0.96, 0.62 for 0.73), two the same within 0.003, two
  further (0.38 for 0.18, 0.44 for 0.31). There the hottest exchanges with all others after every
  eighth turn: after every 24th, as for 500 GPUs and more, 0.27 and 1.15. Kicks of 1,000 GPUs take
  seconds and bring 0.03 %, so that fewer are made.
  Where few GPUs are hot, these have a quarter of all as partners, and the only shard of one may
  change sides: without, shards of pools are handed out less well, and alibaba-2026-5 ends at 14 %
  for 1.9, alibaba-2023-0 at 5.7 for 1.0 (60 s).
- Undivided models under several pressures, placed and exchanged by kernels (beside fc370c5, 8 to 10
  s of CPU): above 600, 1,500 with 12 windows 0.9 % for 102, with 4 proved for 45, four others 49
  for 117, 31 for 48, 13 for 42, and proved in 2.2 s for 2.8; up to 600, 500 with 24 windows 3.1 for
  10.4, 240 with 12 1.5 for 3.5, 420 of two pressures 3.0 for 6.6, 200 and 250 within 0.2 % either
  way. Pairs are compared in the windows first that bind both: 20 microseconds for 35.
- Under several pressures 64 kicks and exchanges among all take turns (5b3ace8, 700 to 1,000 models,
  8 s of CPU): six of six end nearer than with kicks alone, 2.5 % for 2.9, 10.4 for 11.0, 0.52 for
  0.60, 1.05 for 1.16, 0.84 for 0.93, 8.4 for 9.1; the median GPU of the last at 5.7 % for 8.3.
- Many pairs at once from 600 models on: at 5 s four of seven fleets are proved in 0.2 to 0.7 s for
  1.6 to 4.4, 2.8 % for 38, 7.1 for 16, one with two models per GPU 46 for 33. Kicks up to 5,000
  GPUs (a7a94c3): 5.4 % for 12, 6.3 for 20, 5.8 for 14, scale-3-10k 0.026 and 0.032 for 0.037 and
  0.086.
- Kicks come last in rounds of small fleets, so that proofs load no kernels: without them, three of
  six cases of stress 0.04 to 0.12 % further. Under several pressures they come before ejection (600
  models, 6 windows: 0.30 % for 1.36), and before covers where models are undivided (14 of 19 fleets
  proved for 13, five in 0.3 to 2.1 s for 1 to 6); before covers of split models they brought
  nothing to 25 clusters.
- Another copy, another split and other seats bring nothing to searches, but of 96 tiny fleets that
  `refine` betters 19 end worse without.
- GPUs filled one after the other with pairs found among all models that are left, from 400 GPUs on
  (beside dc7175a5, one seed, 12 to 20 s of CPU). 5,000 models, 1,000 GPUs, 24 noisy windows:
  3.5 % for 4.2, 3.9 for 4.1, and 4.72 for 4.64 where few models take most; 3,000 models on 600
  GPUs 3.1 for 3.3. Drawn afterwards: 3,500 on 700 GPUs 3.5 for 4.5, 4,000 on 800 GPUs the same.
  Nothing is filled within 1 % of the bound, where one curve of the day for all models with noise of
  10 or 20 % ends (0.3 %). An earlier form that came before most exchanges ended the first four at
  3.4, 3.7, 5.2 and 2.8, and 700 models on 200 GPUs at 4.7 for 4.4. One that was given 11 s for one
  target reached 3.2 on the first. Of random sets of five models with the mean load about one in
  500,000 is within 2 % of the bound in all windows, of which there are about a billion: an
  estimate says that the value is loose, and not the bound.
- Tried on 5,000 models, 1,000 GPUs and 24 windows, and not built: annealing of single exchanges of
  models with like loads, by excess above a target squared, is at 3.8 % after 8 s on one thread,
  where this search is at 4.0 after 15 and 3.9 after 36, but at 3.7 after 34; five of six smaller
  fleets end further with it, one the same. The value is what is loose: an estimate of how many
  placements there are, loads taken as normal, leaves some at 1 % above the bound.
- Not taken, on the same: such annealing from a high temperature, cooled over the time left (noise
  5.1 %, shifted shape 2.25 for 2.04; two of three cycles end no nearer than where they began); all
  ways to share out three GPUs (a try lowers 1.5 times the excess in ten times the time); optimal
  assignment of one or two models of each of 200 or 1,000 GPUs (5.6 % at the 99th percentile after
  15 s). What is hard is noise: with 10 % for each model and hour, of 54 million random sets of five
  models that share a GPU none is within 3 % of the bound in all windows, and one in a million
  within 4.
- Exchanges of up to two shards for up to two by arrays. In place of them, moves and swaps between
  kicks of undivided models: 30 fleets of 20x50 to 100x200, stress and adrs-like the same, but of
  five with 3 to 4 models per GPU at 0.8 to 4 s of CPU four end further, 0.58 % for 0.23, 0.12 for
  0.08, 0.11 for 0.05, 0.55 for 0.20. In descents of clusters: six of 100 to 180 models 3.9, 3.4,
  2.7, 5.5, 3.0 and 2.6 % for 1.3, 3.4, 3.0, 2.6, 2.0 and 2.6; with kernels in their place 3.9, 3.4,
  2.0, 3.3, 1.9 and 2.5. In large clusters, where kernels exchange, too: scale-real-3k and two of
  1,300 and 4,000 models the same without, 1,500 on 800 GPUs 1.1 and 2.0 % (two orders) for 1.8,
  2,500 on 640 0.31 for 0.21, 3,000 on 600 0.04 for 0.02.
  Beside dc7175a5 (one seed, CPU), moves and swaps in place of them again. Without a limit and with
  twice the kicks, stress 0.33, 0.83, 0.15 and 0.10 % for 0.13, 0.45, 0.03 and 0.03; with kernels
  after them, three of these and one more 0.04, 0.23, 0.02 and 0.01 for 0.13, 0.45, 0.03 and 0.01 in
  1.1 to 1.5 s more, but kernels are compiled once for 24 s. 150 models on 50 GPUs at 3 s 0.40 and
  0.44 for 0.42 and 0.31, with kernels from 1 s on 0.54 and 0.44. In clusters of 250 to 600 models,
  where no kernel exchanges, at 6 to 8 s 2.7, 12.9, 3.08, 12.9 and 11.8 for 1.9, 12.5, 3.01, 12.9
  and 12.2. One of 150, scale-real-3k and 14 smaller ones end at the same values, but for one at
  0.02 % that is proved with them after 5.9 s.
- Deleted: annealing, ruin and recreate; other company for a hot model after every fourth kick (of
  42 cases four 0.01 to 0.07 % worse without, eight 0.01 to 0.25 % better); one of two kernels for
  several pressures (of twelve fleets ten the same, two by 0.02 and 0.04 %).
- Deleted: exchanges of up to three models for up to three under several pressures, for which the
  ways to share out nine models of both GPUs are taken, as where excess is lowered (24b94831, 6 s of
  CPU). 150 models in 4 windows 1.9 and 1.6 % (two seeds) for 1.8 and 2.3, 240 in 24 2.8 and 3.0 for
  2.7 and 2.7, 200 in 8 1.9 and 1.9 for 1.7 and 1.8, 160 in 10 1.9 for 2.2, 350 in 24 2.5 for 2.4,
  100 in 6 at a value 0.4 % lower; four others within 0.03 (one draw for each
  pair), three clusters the same. Under one pressure as well, where those were found by sorted sizes
  (c10dd66e, one seed, 4 to 8 s of CPU): six drawn fleets of 2.2 to 2.7 models per GPU 0.70, 2.06,
  0.16, 0.09, 0.97 and 0.64 % for 0.75, 2.25, 0.82, 0.13, 0.82 and 0.52; three per GPU 0.060, 0.034
  and 0.069 for 0.065, 0.031 and 0.059, without a limit 0.31, 0.20 and 0.031 for 0.22, 0.17 and
  0.037, a million 0.045 for 0.065 (30 s); ten or more per GPU within 0.002 % of the bound, for
  0.001 before; 50x150 and six others the same.

### Bounds, covers and exact decisions

- `group-cover`: without, seven of eight cases of 50x150 end 0.03 to 0.27 % higher; a cover by known
  sets does not replace it (0.34 and 0.17 % for 0.16 and 0.09), nor does annealing of pairs of GPUs
  (two cases stay at 0.54 and 0.35 % for 6 s, where it ends at 0.02 and 0.03).
- Not taken: sets of a group listed by the kernel that prices sets, which has tables of room: 11 ms
  for each of 200 drawn groups, for 0.9 (dc7175a5).
- Groups refilled before targets are decided where the value is more than 10 % above the bound, with
  prices as soon as the program sees that the target is possible, in half of the time left; and also
  in clusters most models of which are one shard, where split, copied and pinned ones stay and what
  breaks a rule is taken back (beside dc7175a5, planted fleets full to 99 to 99.9 %, fresh seeds,
  8 s of CPU, percent above the bound). 200 models on 60 GPUs 34 for 323 and 16 for 38, one 13 as
  before; 500 on 150 29 for 57 and 30 for 771; 120 on 40 15 for 22, 12 for 13, 16 for 16. Clusters
  with split models: 12 for 27, 34 for 249, 27 for 104, 24 as before; with rules, four as before.
  Exact prices had taken 7 of 10 s there.
- Deleted: targets below the first plan of a full fleet, tried GPU by GPU. Without them 8 s end at
  41 % for 235, 0.0012 for 0.0097, 0.0005 for 0.0009, 0.17 for 0.29, 15.3 for 15.9; 4 s at 0.6 for
  80, 47 for 536, 17 for 25, 23 for 323, one 0.87 for 0.10; without a limit 7.3 for 48, 15 for 25,
  0.6 as before, one 8.8 for 5.5.
- Fluid weights for each kind of GPU in place of one for all (beside f7f6d3b): 57.9 % to 0.04, 63 to
  3.0, 56 to 1.6, 9.3 to 0.14 (1,000 to 20,000 models on two or three kinds). Size classes beside it
  raise one of 12 bounds of large sparse fleets (by 6.3 %), and pairs of levels of memory and time
  none of three: sets are told apart there by more than one window.
- Pressures weighed for each kind of GPU before sets are made (4230dd0): eight of 14 clusters nearer
  (61 to 25 %, 43 to 21, 26 to 17, 17 to 7.3), three further (7.3 to 19 where a check took too
  long). A climb of the bound from below before domains are filled: with the targets of exact
  decisions in its place, one of eight bounds is 14 % lower.
- Options that take little more room than the least first, others with the sets that they make too
  dear: openrouter-103 under pressure is refuted at 5.8 in 3.8 s for 9.3, elsewhere in 0.4 for 1 to
  5. So that climb is asked for up to 8,000 options, for 2,500, and goes by halves, not quarters:
  55 to 103 models under pressure, 10 s (fc370c5), are proved for 21.4 %, 5.6 for 33.7, 4.2 for
  16.6, 14.1 for 19.7, 1.8 for 2.9; 14 others as before, one 0.11 for 0.09, one
  24.7 or 27.4 for 24.7.
- The dive before a cover by known sets: without, openrouter-60 by pressure 0.67 % for 0.07 after
  20 s; with going back, 0.24, 1.3 and 1.2 % for 2.8, 1.2 and 2.7 after 10 s (1a6f5a9). Beside
  dc7175a5, 10 s of CPU on a busy machine, openrouter-60 on three seeds 2.6, 1.0 and 1.6 % for 1.6
  to 2.6, 0.07 to 0.8 and 0.07 (one or two runs each), and of 19 drawn clusters of 11 to 101 models
  one is proved in 8.9 s for 7.6, the others are the same. Without all covers by known sets one of
  seven of 11 to 22 models is at 10.5 % for 7.8, and openrouter-60 at 1.6 (63c86eef).
- Covers by known sets before link domains are filled as well, in a tenth of the time left, where
  two pressures and up to 2,000 options hold; and targets at six parts of the gap, where each had
  been nearer to the value than the last: dives meet targets near the bound as often as others
  (beside dc7175a5, one seed, CPU; HiGHS, which counts wall time, had eight times as long). Of 12
  targets of openrouter-60 between the bound and 2.7 % above it 11 are met by the dive, in 0.2 s
  each; at 10 s it ends at 0.25, 0.07 and 0.07 % (three seeds) for 0.25, 0.07 and 0.25. Drawn
  clusters of 24 to 60 models at 8 s: 11.2 to 7.7 %, 8.0 to 5.0, nine others within 0.02 % of what
  they were; at 10 s the two 7.7 and 4.3, and one of 45 models 10.4 for 9.1, which has a tenth less
  time. In these three no cover meets a target early: what follows, which has the sets made
  meanwhile, ends elsewhere. In four windows as well, one ended at 1.2 and 3.0 for 0.3 and 0.6.
- Deleted: covers searched depth first in Python where up to 300 sets can matter, for which an
  integer program has 50 times as many nodes (8b128c5a, 4 to 6 s of CPU, untimed where full): of 49
  undivided fleets of stress, 20x50 and 20x60, 40 of adrs, two of 50x100, 8 that are tiny or full
  and 11 clusters of 11 to 16 models all end the same, but for two of stress, 0.087 % for 0.043 and
  0.336 for 0.326.
- Memory packed by sets that are known before by all that can matter: of four full fleets two are
  proved in 0.7 s each, for one (beside 04ab59c1); two find no plan in 0.3 s. Replaced by the next.
- GPUs filled one after the other where memory is full (bin completion, beside 004f0e78): of ten
  full fleets all have a plan within 0.02 s of CPU and nine are proved after 0.7 to 5.9 s; before,
  two had none after 1.7 and 2.9 s. Of 22 drawn fleets of 24 to 60 models on 8 to 16 GPUs that are
  full to 98.75 to 100 % (one or two kinds, KV floors, rules, split and copied models) all have
  one within 2.1 s, for 10 within 6 s.
- Worths raised by most of what models are priced above all GPUs: a check takes 0.07 s for 19.
- Sets under several pressures found by compiled kernels, depth first: one question of 82 models and
  2,600 options takes 3 s, for 19 to 29 s or no answer, of 76 models 6 for 25, of 30 models 0.9 for
  3.9.
- Sets of single models asked of fleets of 600 to 1,000 undivided models, too, where at most 2.2
  share a GPU, with sets filled up with each model before the dearest are looked for (beside
  03ad95d3, 8 s): 8.4 to 0.3 %, 16.4 to 0.7, 11.8 to 1.4; three others proved or not raised. 950
  models on two kinds 10.3 (after 20 s) to 7.1 % (after 16), at a value 0.2 % higher, and what is
  loose there is the value. Up to 600 models: proved in 3.6 s for 5.9, 5.7 % for 6.1, two the same.
  With 2.25 and 2.7 models per GPU two values end 0.5 and 0.3 % higher and no bound moves; with 8
  and 12 pressures no target is decided, as looking for the dearest set does not end; 1,400 models
  lose 0.2 %. Two small steps before the climb: 1.4 for 1.8 %, 7.1 for 8.6, 0.3 for 0.5.
- Cases over options and link domains with these up to 200,000 options times domains, for 1,200: at
  10 s of CPU 24 to 5.1 % above the bound, 8.9 to 2.7, 8.8 to 7.6, 5.6 to 5.3, 4.8 to 1.6;
  worse 0.9 to 1.5 (039f0aa2).
- Targets of cases in turns that double, each going on from where it was, checks of what they
  prove outside their time, covers for as long as they lower the value, no targets of exact
  decisions after cases, and a lower target where a certificate does not check (beside 03ad95d3,
  one seed, 10 s of CPU): 16.9 to 7.4 % above the bound, 9.6 to 5.0, 9.9 to 7.5, 6.8 to 5.4, 0.9 to
  0.24; twelve others as before, one 2.6 for 2.5, as exact decisions find more there. First turns of
  0.06 of the time in place of 0.15: one at 2.2 for 1.1. Covers with 0.12 of the time left in place
  of 0.17: openrouter-60 0.79 for 0.07; with 0.25, 9.7 for 5.0; after cases, 11.0 for 0.005.
- Without gain: options of a model divided in half by their number of shards (9 cases for 12, 269
  undecided for 151); prices nearer to those of room, or more mixes of pressures, in a certificate
  that is not settled; a climb of the bound that checks each target.
- Deleted: a longer search for dear sets under several limits where the first settled nothing. Of
  nine drawn clusters and three other fleets by pressure, four by occupancy and six undivided ones
  in one to four windows (4 to 8 s of CPU, one seed, beside 004f0e78) 20 are the same without, two
  nearer (4.3 to 3.3 %, 6.9 to 6.8).
- Deleted: models that can be in no dear set left out before tables are made, partial sets before
  they are grown: openrouter-103 by occupancy has the same bound after 16 s, 14 others too. Three
  ways to raise a bound towards a value in place of one: of eight fleets four bounds are higher by
  0.01 to 0.1 %, none lower, some proofs take 0.1 to 0.5 s longer. Cases of the dearest model where
  the program mixes none: two of three clusters the same, one nearer.
- Undivided models under several pressures: no covers by known sets, and in their place a climb of
  the bound in half of the time left, checked at once; no exact decisions within a time limit where
  more than 2.5 models share each of more than 24 GPUs, which are twice as many each pass; and a
  fifth of the time left for ejection (beside 004f0e78, one seed, 8 to 10 s of CPU). Where there is
  a slash, models/GPUs/windows: 150/60/12 1.2 % for 10.4, 100/30/6 on two kinds 1.8 for 4.9,
  180/60/6 2.9 for 6.7, 140/50/4 1.5 for 1.7, 60/20/2 proved in 1.4 to 3.3 s for 0.42 % after 6,
  120/50/6 in 2.4 to 2.8 for 4.7, 80/24/3 0.77 as before, 170/50/2 0.11 for 0.12; two of 20 GPUs
  0.33 for 0.35 and 0.32 as before; ten of adrs-like and 8 to 40 GPUs are proved either way, and
  five without a limit. Those covers lowered none of seven values. Still open: of 24 pressures and
  three to four models per GPU most targets are not decided, as 10 to 100 million partial sets are
  looked at for one price; 160/40/12 on two kinds 6.3 for 6.0, 200/60/12 6.9 for 7.3.
- Not taken, on those: where a search for the dearest set is too long, another at a price that
  no set reaches (no target is decided for it); limits mixed anew below each first, second and third
  model of a set (as many partial sets); branch and bound by subgradients at each partial set (20
  times as slow).
- The configuration program asked for up to 8,000 options whatever the number of pressures, where
  link domains are filled; it was asked for 4,000 in two windows, and for 667 in 12 (beside
  56ad758e, 10 s of CPU, clusters of real models with a curve of the day for each). 52 models on 256
  GPUs in 6 windows are proved in 7.6 s for 3.8 %, 82 on 240 in 4 end at 13.5 % for 17.2, and five
  of 67 to 101 models in 4 to 12 windows are proved in 2.1 to 3.7 s for 0.001 %. Before idle nodes
  were used (d0f23570): in 6 windows 9.8 % for 18.8, in 3 windows 10.0 for 7.2 (20 s).
- Certificates state the mix of pressures that leaves least, for each kind of GPU: of 82 models on
  240 GPUs under pressure, 3.6 % after 10 s for 7.4, as the check of a bound ends without an answer.
- Deleted: tables over two limits, further mixes of limits, a bound by prices of room before sets
  are made. Without these, and without mixes in certificates, six drawn clusters, openrouter-60 by
  pressure and nine undivided fleets are the same, two of them proved in 0.7 and 1.5 s for 1.0 and
  2.6; the bound of 700 models is 1.2 % higher.
- Deleted: size classes under several pressures, with the checks of targets at weighted sizes. Of
  seven drawn clusters six are the same without, one 0.09 % for 1.4; of seven undivided fleets two
  nearer, 4.05 for 4.46 and 6.35 for 6.38, five the same.
- Deleted: `lifted-bound`, `stepped-bound` and `dual-feasible-bound` (without all three, bounds of
  four fleets within 0.03 %, of stress 0.04 % lower at most), but for one idea: a model that needs
  more than half of a GPU is priced at all that it takes there (without, three of twelve cases of
  stress 0.6 to 1.6 % further). All sets of a small fleet at once (67 cases the same). Few options
  of each model before all (three clusters the same, one 24 % for 31; 19fc110).

### Pools and mixed clusters

- A start from configurations from 25,000 models times GPUs on, under one pressure, in place of
  1,000,000 (7910ed8): at 20 s 900 models on 600 GPUs 2.3 % for 29 (after 60 s), 640 on 320 1.4 for
  20, 600 on 400 6.8 for 25, and 2.2 for 21 where a third must be left 5 GiB; 900 on 600 at 6 s 28
  for 41; from 25,000 beside from 100,000 at 10 s, 304 on 200 1.4 for 12, 200 on 136 10.7 for 15.7,
  250 on 160 proved for 4.1.
- Sets of first fit to begin the program on levels with: with the dearest at prices by size in
  their place, scale-real-3k 0.6, 0.8 and 2.5 % for 0.4, 0.8 and 1.0 (three seeds); bounds of
  sparse fleets are the same. Split shards in that program where they are few: without, 1.4 % for
  0.4 (8b128c5a).
- Configurations rounded and filled again at targets a little higher: once only, scale-real-3k 0.6
  to 4.3 % for 0.9 to 4.2, one nearer, four further; 420 models 3.7 % for 1.8 (beside 5a502795).
- Where KV must be left, a shard counts with the larger of its two sizes when shards are handed out
  anew, and exchanges mend the rest: a pool of 2026 (19,604 models) is at 0.4777 after 22 s, for
  0.4815 after 43. Handing out alone ends at 0.4875, a pool of 2023 at 0.80 for 0.75.
- Models that only the largest GPUs hold are packed first where the bound is theirs, by an integer
  program over the sets of the configuration program and all pairs near it, in 1 s; the rest is told
  apart by the smallest GPU that holds a shard: at 18 s pools of 2023 are at values of 0.748 and
  0.725 (bounds 0.734 and 0.681 then) for 0.783 and 0.759. One of three starts so is worse, so the
  other is made, too. Where the bound is of all GPUs, a pool of 2026 is at 0.4917 so, for 0.4793. A
  dive in its place had brought 1.2 % (0.7386 after 8 s for 0.7477).
- What is too hot at a lower target is placed anew in any of its options, and shards are shared out
  until that fits, by bisection, in place of ejection of single copies: a second for each target
  (beside 24b94831, 60 s). alibaba-2026-5 1.8 % for 3.5, where the hottest GPUs held one model each
  that fits on no GPU of its size below and ejection placed 400 copies in 14 s without gain;
  alibaba-2026-0 2.2 for 2.4, alibaba-2023-7 5.5 for 5.6; two of scale-real-3k the same.
- Models of the largest GPUs packed anew for each target that the program is asked for, as those
  packed for a target do not fit at a lower one: alibaba-2023-0 0.7 % for 1.0 (in 9 s for 18),
  alibaba-2023-51 7.9 for 8.9. Shares of GPUs by load had not been seen
  when shards were shared out, nor had excess in all been what ends it.
- Two split models on the same GPUs in that integer program, a column for each pair: without, no
  packing was found below 0.7207 for alibaba-2023-7, with it one at 0.6983, and the pool ends at
  2.2 % for 5.5 (43 s of CPU, for 60); alibaba-2023-51 8.0 for 7.9. Deleted for it: split models
  that fit on one another taken as one before all; alibaba-2023-41 ended at 5.9 with both, on a
  busy machine, and ends at 9.5.
- The configuration program for up to 50,000 models where KV must be left on several kinds of GPU,
  for 20,000 (beside c10dd66e, 60 s of CPU on a busy machine): dealing out ends at the value of the
  first plan there. With what follows, alibaba-2026-62 with a fill of 0.8 (22,035 models) 2.6 % for
  18.5, one drawn afterwards (seed 81, fill 0.75) 1.3 for 43.9, alibaba-2026-5 1.5 for 1.9.
- What is much too large beside a split model is placed anew, too: exchanges cannot move it, and one
  such model of 85 GiB had kept 75 GiB of excess. Every other target begins with what the last one
  left. Models without a place are placed so, in 1 s: ejection came to a value 20 % higher.
- Where KV must be left, GPUs that hold too much exchange up to two shards for up to two of the GPU
  that helps most, and others so that room is in fewer places, in place of random pairs (beside
  dc7175a5). On alibaba-2023-51 0.7 of 499 GiB of excess are left after 1 s of CPU at a target of
  0.66, without room in fewer places; random pairs left 366 of 1,307 after 3 s at one of 0.64. At
  0.65, 4.8 GiB are left after 1.3 s without room in fewer places, 0.1 after 3 s with it. So 0.1 %
  of the GPUs are spared for rounding, for 0.3 %, one filling of each start is enough, and of two
  starts the second is made where the first is above the target that its program met. 60 s of CPU on
  a busy machine: alibaba-2023-51 6.5 % for 19.9, alibaba-2023-41 3.6 for 12.6, alibaba-2026-0 1.7
  (2.1 idle before), alibaba-2023-7 2.2 for 8.9, and one not seen before (seed 86) 0.6 for 13.2.
  Lost: with 30 s, where nothing is packed first, alibaba-2023-51 ends at 17.7 for 10.9.
  A byte too much of the KV that must be left counts twice, as no higher target mends it.
- What finds no place in such a start goes where it displaces what many GPUs hold, and room is made
  by steps of the target that double, before bisection: one hot model on the largest GPUs had left 3
  GiB of excess there that nothing lowered. All that is too much on 100 GPUs or fewer is placed
  anew once shards were shared out, and a start that is a little above its target is left to that.
- Prices of 1,024 levels in place of 512, tried on 2,048 at once: the bound of alibaba-2026-62 is
  0.4349 for 0.4316 after 11 s. A target on 2,048 levels takes 5 to 12 s there, so that none is
  asked of more than 15,000 models: of alibaba-2026-5 that took 20 s without gain.
- What keeps alibaba-2023-51 at 8 %: 60 % of its shards take less with their load than with the KV
  that must be left. Counted by their load alone, a program of 2,048 levels, sizes rounded up, is
  met 2 % above the bound; counted by the larger of both it is refuted at 8 %. Filled by load alone
  or nearly, 50 to 590 GiB of excess stay after exchanges. And models of the largest GPUs that are
  packed first leave room there that others need: 1 % more of the fleet is needed at 3 % above. By
  what that room is worth, three times in turn, 0.25 % less; by the prices of levels of all models
  at once, 0.1 % less.
- The integer program of these models ended by nodes and at a gap of 0.3 %, for 2 s of wall time and
  0.1 %: on alibaba-2023-51 it takes 0.6 to 2.0 s of CPU a target, for 0.9 to 10. What its sets hold
  too often is left out beside single shards: at two of eleven targets no seats had been found, as a
  split model lay partly on another. What lacks of the fleet at two targets says which the next is.
  60 s of CPU on a busy machine (beside 004f0e78): alibaba-2023-51 19.9 % for 26.0 (26.3 without the
  last), alibaba-2023-7 8.9 (8.9 without the last), scale-real-3k 0.37 as before.
- Not taken, on alibaba-2023-51 and 2023-41: shards shared out by cheapest assignments of what some
  200 GPUs give, under both sums. From one start 1,307 GiB of excess fall to 112 in 5 s of CPU, for
  366 after 3 s of exchanges, and 3.6 % above the bound 4.6 GiB stay. But those lie on 50 to 100
  GPUs, some too full at any target, and the pools end at 11 to 25 %. All models in the
  program on levels at once: by load alone 1.2 % less of the fleet is needed, by the larger of both
  sums for models of the largest GPUs 0.2 % more.
- Not taken: these models packed again, up to twice at each target, by what the room that is left
  of GPUs is worth to the other models: of alibaba-2023-51 no further target is met in 10 s.
- Levels of the load apart by the smallest GPU that holds a shard alone: the bounds of two pools of
  2023 are 0.640 and 0.611 after 5 s, for 0.621 and 0.596 after 60; 0.605 by 2,048 levels alone.
- What keeps scale-real-3k at 1.2 and 1.4 % (seeds 2 and 3, 20 s of CPU) is the value: of seed 2,
  29 of 2,000 GPUs hold 1 GiB too much for 0.3 %, where all others have 1,833 GiB of room. Five in
  a hundred GPUs have most of that, with 6 GiB and more beside one shard each; half have less than
  0.3. After 12 s, no move of a model of one shard, and no exchange with one or two such models of
  one other GPU, brings any of the six hottest to 0.3 %; and chains of exchanges of one for one,
  each for the smallest that leaves room, bring neither of the two above 1 % there. At 40 s it
  ends after 24 as near. The program on levels, with sizes rounded to the nearest, is met within
  0.1 %.
- Shards exchanged by kernels under both of their sums, split models that fit on one another taken
  as one, and 0.3 % of the GPUs spared: those pools are 8.7 and 10.0 % above the bound after 25 s,
  for 14.5 and 13.4 after 60; two drawn afterwards are at 14.4 and 5.4 % after 25 s, for 28.8 and
  10.4; one is as before, and one of 2026 at a value of 0.4793 after 29 s, for 0.4776. Without split
  models taken as one, five pools end the same after a minute, but of three of 2023 after 22 to 24 s
  one at 12.7 % for 8.7, one the same.
- Deleted for these, as seven clusters of 250 to 3,000 models and two pools end the same without or
  nearer (1.4 to 0.9, 0.81 to 0.68, 9.3 to 6.7 %): the best of three roundings; shards handed out
  anew at lower targets than the program's; exchanges of one or two shards of two sizes after those
  by kernels.
- Deleted for these before: only half of the KV that must be left beyond the load counted where
  levels are filled (10.9 and 9.6 %); prices in proportion between few levels of both sizes (a lower
  bound); levels of both sizes in pairs for the bound (six pools and parts of them: five the same,
  700 models 5.0 % for 6.8 without; 720 on GPUs of one kind, half left 10 GiB, 86 for 80).

## The tables

All seconds and limits are CPU seconds of the process, so that other work on the machine does not
change the figures. A family without a limit in its heading has none. `seconds` is what a stage took
in the whole search. `lowered` and `raised` are the factors by which it changed the value and the
bound there, on the geometric mean over the cases on which it ran. `value worse` and `bound lower`
compare a search without the stage, with the number of cases that differ in brackets; a negative
figure says that the other stages do better without it, which happens where what it finds sends them
another way. `balance worse` counts the cases whose other GPUs are less balanced without it. Empty
cells were not asked for: smaller families show what these stages do. Each table names the commit
that it is of, all of November 2026; the processor of 2d6c272 was about half as fast. `kvplace bench
FAMILY --solver auto --without STAGE` repeats a line.

Where a limit ends a search, one run differs from the next: openrouter-103-occupancy came out 2 %
better without `pair-exchanges`, and once 10 % worse without `drop-copies`, which comes last and
cannot change the maximum. Smaller differences in the tables of the openrouter fleets are noise.
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
