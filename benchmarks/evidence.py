"""Does a placement serve? Placements by several rules, each simulated at growing load.

    python benchmarks/evidence.py adrs-like --output benchmarks/results/evidence_adrs_like.json
    python benchmarks/evidence.py openrouter lmsys arena27 servegen azure mooncake --output FILE
    python benchmarks/evidence.py --show FILE... --plot docs/images/evidence.png

Fixed before the first run, for all families: the variants in `VARIANTS`, the metric `all95` (the
largest load at which 95 % of all requests keep every objective), seed 0 of the requests, 240 s of
traffic, engines on time slices, one elastic pool per GPU. The fleets were drawn twice: seeds 2001
to 2012 (`adrs-like`), and 7001 to 7012 (`adrs-like-again`) after the forecast and the metric had
been mended, for which nothing was looked at on either. The metric of the first draw had fewer
requests at loads below 1, so that a handful decided there.

Robustness (`--robust N`: the first N fleets of a family): bursts (cv 3), MPS, no contention, KV
pools split into fixed parts, and step times up to 20 % away from those that the planner knows, by a
factor of its own for each model.

Every variant of a fleet gets the same requests. Ratios are to Prism's greedy rule on tokens, as
geometric means over fleets with 90 % bootstrap intervals. `one copy` is there where a fleet lets
the planner choose replicas; first fit, best fit and random where models take one GPU each. A fleet
of which some shape is not known is planned for pressure with that shape guessed, and says so.

Fleets that the output file has already are not run again, so a run can be made in slices
(`--minutes`). Fleets from logs are those of `log_fleets.py`.
"""

import argparse
import contextlib
import dataclasses
import json
import math
import random
import statistics
import sys
import time
from pathlib import Path

import numpy as np

import kvplace
from kvplace.bench.adrs_like import adrs_like
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.core.models.model import Replicas
from kvplace.core.placement import Placement
from kvplace.forecast.forecast import forecast
from kvplace.forecast.rules import Rules
from kvplace.forecast.search import refine_forecast
from kvplace.forecast.share_timing import ShareTiming
from kvplace.forecast.times import StepTimes
from kvplace.simulate.run import simulate
from kvplace.simulate.served import LEAST, served
from log_fleets import FAMILIES, log_fleet

LEVEL = 0.95
SEEDS = {"adrs-like": range(2001, 2013), "adrs-like-again": range(7001, 7013)}
VARIANTS = (
    "auto occupancy", "auto tokens", "auto pressure", "forecast-refined", "one copy",
    "prism-greedy tokens", "first fit", "best fit", "random",
)  # fmt: skip
BASE = "prism-greedy tokens"
STEPS = 300
"""Steps of a search: the same plans on any machine, which a time limit would not give."""

SECONDS = 240.0


def placements(fleet, seed, wanted):
    """Return the placement of each variant that is wanted and has one."""
    found = {}
    for objective in ("occupancy", "tokens", "pressure"):
        needed = {f"auto {objective}"} | (
            {"forecast-refined"} if objective == "pressure" else set()
        )
        if not needed & set(wanted):
            continue
        try:
            result = kvplace.solve(fleet, objective=objective, iterations=STEPS)
        except (kvplace.InputError, ValueError, TypeError, NotImplementedError) as error:
            say(f"    auto {objective}: {str(error)[:100]}")
            continue
        found[f"auto {objective}"] = result.placement
    start = found.get("auto pressure") or found.get("auto occupancy")
    if start is not None and "forecast-refined" in wanted:
        found["forecast-refined"] = refine_forecast(fleet, start, seed=0, kicks=10).placement
    chosen = not all(model.replicas.min == model.replicas.max for model in fleet.models)
    if chosen and "one copy" in wanted:
        single = [dataclasses.replace(m, replicas=Replicas()) for m in fleet.models]
        with contextlib.suppress(kvplace.InputError):
            alone = dataclasses.replace(fleet, models=tuple(single))
            found["one copy"] = kvplace.solve(alone, iterations=STEPS).placement
    tokens = fleet.with_objective("tokens")
    found[BASE] = kvplace.solve(tokens, solver="prism-greedy").placement
    if all(model.plain for model in fleet.models):
        found["first fit"] = packed(fleet, lambda _free: 0)
        found["best fit"] = packed(fleet, lambda free: min(range(len(free)), key=free.__getitem__))
        rng = random.Random(seed)
        found["random"] = packed(fleet, lambda free: rng.randrange(len(free)))
    return {
        name: one for name, one in found.items()
        if name in wanted and one is not None and evaluate(fleet, one).valid
    }  # fmt: skip


def packed(fleet, choose):
    """Return models by size, each on one of the GPUs that it fits on; None where one fits none."""
    free = {gpu.id: gpu.usable_bytes - 1 for gpu in fleet.fleet.gpus}
    where = {}
    sizes = fleet.undivided_bytes
    for at in sorted(range(len(sizes)), key=lambda at: -sizes[at]):
        fitting = [gpu for gpu, left in free.items() if left >= sizes[at]]
        if not fitting:
            return None
        gpu = fitting[choose([free[gpu] for gpu in fitting])]
        free[gpu] -= sizes[at]
        where[fleet.names[at]] = gpu
    return Placement.single(where)


def measure(fleet, placement, times=None, **options):
    """Return the load served by both metrics, and what the forecast says of it."""
    found = served(fleet, placement, level=LEVEL, times=times, seconds=SECONDS, **options)
    means = [outcome.mean_attainment for outcome in found.simulation.at(1.0)]
    at_one = forecast(fleet, placement, times=times)
    evaluation = evaluate(fleet, placement)
    return {
        "all95": found.load,
        "mean at 1": statistics.fmean(means),
        "grid": [list(point) for point in found.grid()],
        "forecast": at_one.attainment,
        "occupancy": evaluation.value,
    }


def scattered(fleet, placement, load):
    """Return, per GPU at one load, what was attained and what occupancy and forecast say of it."""
    played = simulate(fleet, placement, loads=(load,), seconds=SECONDS).outcomes[0]
    expected = forecast(fleet, placement, load=load)
    try:
        known = fleet.with_objective("pressure") if fleet.timing is not None else fleet
        shares = [max(gpu.time_shares, default=0) for gpu in evaluate(known, placement).gpus]
    except kvplace.InputError:  # no shape is known of some model
        shares = [None] * len(fleet.fleet.gpus)
    found = evaluate(fleet.with_objective("occupancy"), placement)
    rows = zip(played.gpus, found.kvprs, expected.gpus, shares, strict=True)
    return [
        [real.attainment, load * kvpr, guess.attainment, guess.busy,
         None if share is None else load * share]
        for real, kvpr, guess, share in rows
        if real.requests >= 20
    ]  # fmt: skip


def told_models(fleet, placement):
    """Return, per model with 30 requests at the stated demand, what was attained and forecast."""
    played = simulate(fleet, placement, seconds=2 * SECONDS).outcomes[0]
    pairs = zip(played.models, forecast(fleet, placement).models, strict=True)
    return [[real.attainment, guess.attainment] for real, guess in pairs if real.requests >= 30]


def wrong_times(fleet, seed):
    """Return step times up to 20 % away from those that the planner knows."""
    rng = np.random.default_rng(seed)
    known, measured = StepTimes(), {}
    gpu = fleet.fleet.gpus[0]
    for model in fleet.models:
        one = known.of(model, gpu.type, gpu.memory_bytes).times
        factor = rng.uniform(0.8, 1.2)
        scaled = {
            field.name: getattr(one, field.name) * factor
            for field in dataclasses.fields(one)
            if field.name.endswith("_seconds")
        }
        measured[model.name, ""] = dataclasses.replace(one, **scaled)
    return StepTimes(measured)


def run_fleet(name, fleet, seed, wanted):
    started = time.process_time()
    found = placements(fleet, seed, wanted)
    rows = {variant: measure(fleet, one) for variant, one in found.items()}
    result = {"fleet": name, "variants": rows}
    result["missing"] = [variant for variant in wanted if variant not in found]
    shown = [one for one in (BASE, "auto pressure", "forecast-refined") if one in found]
    result["scatter"] = {
        variant: [row for load in (0.5, 1.0, 2.0) for row in scattered(fleet, found[variant], load)]
        for variant in shown
    }
    result["models"] = {variant: told_models(fleet, found[variant]) for variant in shown}
    result["cpu_seconds"] = time.process_time() - started
    told = ", ".join(f"{v} {row['all95']:.2f}" for v, row in rows.items())
    say(f"  {name}: {told} ({result['cpu_seconds']:.0f} s)")
    return result


ROBUST = {
    "bursts": lambda _fleet, _seed: {"burst": 3.0},
    "mps": lambda _fleet, _seed: {"rules": Rules("mps")},
    "none": lambda _fleet, _seed: {"rules": Rules("none")},
    "static pools": lambda _fleet, _seed: {"rules": Rules(pool="static")},
    "wrong times": lambda fleet, seed: {"times": wrong_times(fleet, seed)},
}
"""What is different from what the planner assumed, by name."""


def robustness(fleet, seed, variants):
    """Return the load that some variants serve where an assumption does not hold."""
    found = placements(fleet, seed, variants)
    return {
        case: {
            variant: measure(fleet, one, **options(fleet, seed))["all95"]
            for variant, one in found.items()
        }
        for case, options in ROBUST.items()
    }


def fleets(family, data):
    """Yield the fleets of a family with a seed each."""
    if family in SEEDS:
        for seed in SEEDS[family]:
            yield f"adrs-like {seed}", adrs_like(seed), seed
    elif family == "openrouter":
        yield "openrouter-47", kvplace.read(str(data / "fleets/openrouter-47.yaml")), 1
        yield "openrouter-60", kvplace.read(str(data / "fleets/openrouter-60.yaml")), 2
    elif family == "lmsys":
        # Its models' shapes are not in the file: they are taken from their sizes.
        fleet = kvplace.read(str(data / "fleets/lmsys-16.yaml"))
        yield "lmsys-16", dataclasses.replace(fleet, timing=ShareTiming(guess=True)), 3
    elif family in FAMILIES:
        yield family, log_fleet(family, data)[0], FAMILIES[family]
    else:
        sys.exit(f"no such family: {family}")


def interval(ratios):
    """Return the geometric mean of ratios and its 90 % bootstrap interval."""
    logs = [math.log(r) for r in ratios]
    rng = random.Random(0)
    drawn = sorted(statistics.fmean(rng.choices(logs, k=len(logs))) for _ in range(2000))
    return [math.exp(v) for v in (statistics.fmean(logs), drawn[100], drawn[1899])]


def auc(rows, at, *, falls):
    """Return how well a column tells GPUs below the level from those above."""
    bad = [row[at] for row in rows if row[0] < LEVEL]
    good = [row[at] for row in rows if row[0] >= LEVEL]
    if not bad or not good:
        return None
    sign = -1 if falls else 1
    wins = sum((sign * b > sign * g) + 0.5 * (b == g) for b in bad for g in good)
    return wins / len(bad) / len(good)


def summary(result):
    """Return tables of ratios and of what predicts failure, as Markdown."""
    lines = []
    head = (
        f"all95, against {BASE} | fleets | geometric mean | 90 % interval | least | median | most"
    )
    lines += [f"| {head} | mean at 1 |", f"|{'---|' * 8}"]
    for variant in VARIANTS:
        rows = [row["variants"] for row in result["fleets"] if variant in row["variants"]]
        pairs = [(row[variant]["all95"], row[BASE]["all95"]) for row in rows if BASE in row]
        # A load of 0 is below the least that was tried; it counts as that.
        ratios = [max(mine, LEAST) / max(base, LEAST) for mine, base in pairs]
        if ratios:
            mean, low, high = interval(ratios)
            means = [row[variant]["mean at 1"] for row in rows if "mean at 1" in row[variant]]
            cells = [len(ratios), f"{mean:.2f}", f"{low:.2f} to {high:.2f}"]
            cells += [f"{v:.2f}" for v in (min(ratios), statistics.median(ratios), max(ratios))]
            cells.append(f"{statistics.fmean(means):.2f}" if means else "-")
            lines.append(f"| {variant} | {' | '.join(map(str, cells))} |")
    lines.append("")
    shown = [v for v in VARIANTS if any(v in row["variants"] for row in result["fleets"])]
    lines += [f"| all95 | {' | '.join(shown)} |", f"|{'---|' * (len(shown) + 1)}"]
    for row in result["fleets"]:
        loads = (row["variants"].get(variant, {}).get("all95") for variant in shown)
        cells = ("-" if load is None else f"{load:.2f}" for load in loads)
        lines.append(f"| {row['fleet']} | {' | '.join(cells)} |")
    lines.append("")
    robust = [row for row in result["fleets"] if "robust" in row]
    if robust:
        cases = list(dict.fromkeys(case for row in robust for case in row["robust"]))
        head = f"robustness, {len(robust)} fleets, all95 against {BASE}"
        lines += [f"| {head} | {' | '.join(cases)} |", f"|{'---|' * (len(cases) + 1)}"]
        for variant in VARIANTS:
            cells = []
            for case in cases:
                ratios = [
                    max(row["robust"][case][variant], LEAST) / max(row["robust"][case][BASE], LEAST)
                    for row in robust
                    if variant in row["robust"].get(case, {})
                ]
                mean, low, high = interval(ratios) if ratios else (0, 0, 0)
                cells.append(f"{mean:.2f} ({low:.2f} to {high:.2f})" if ratios else "-")
            if variant != BASE and any(cell != "-" for cell in cells):
                lines.append(f"| {variant} | " + " | ".join(cells) + " |")
        lines.append("")
    points = [row for one in result["fleets"] for rows in one["scatter"].values() for row in rows]
    lines += ["| tells GPUs that fall below 95 % | AUC |", "|---|---|"]
    for name, at, falls in TELLS:
        found = auc(
            [row for row in points if len(row) > at and row[at] is not None], at, falls=falls
        )
        lines.append(f"| {name} | {'-' if found is None else f'{found:.3f}'} |")
    bad = sum(row[0] < LEVEL for row in points)
    lines += ["", f"{len(points)} GPUs at three loads, {bad} of them below."]
    pairs = [pair for one in result["fleets"] for rows in one.get("models", {}).values()
             for pair in rows]  # fmt: skip
    if pairs:
        near = statistics.fmean(abs(real - guess) <= 0.1 for real, guess in pairs)
        lines.append(f"{near:.0%} of {len(pairs)} models within 10 points of the forecast.")
    return "\n".join(lines)


TELLS = (
    ("occupancy", 1, False), ("time share", 4, False), ("busy time", 3, False),
    ("forecast", 2, True),
)  # fmt: skip
"""What is looked at, its place in a row of the scatter, and whether failing GPUs have less."""


def draw(results, path):
    """Draw what was attained on each GPU over what occupancy, time share and forecast say of it."""
    import matplotlib as mpl  # noqa: PLC0415 - tables are shown without it

    mpl.use("svg" if path.suffix == ".svg" else "agg")
    mpl.rcParams["svg.hashsalt"] = "kvplace"
    from matplotlib import pyplot as plt  # noqa: PLC0415

    points = [
        row for result in results for one in result["fleets"] for rows in one["scatter"].values()
        for row in rows
    ]  # fmt: skip
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.6), sharey=True, layout="constrained")
    shown = (("occupancy", 1), ("time share", 4), ("forecast part in time", 2))
    for axis, (name, at) in zip(axes, shown, strict=True):
        rows = [row for row in points if len(row) > at and row[at] is not None]
        for bad, colour in ((False, "#2c7fb8"), (True, "#d95f0e")):
            mine = [row for row in rows if (row[0] < LEVEL) is bad]
            label = f"{'below' if bad else 'at least'} {LEVEL:.0%} in time"
            axis.scatter(
                [max(row[at], 1e-3) for row in mine], [row[0] for row in mine], s=9, c=colour,
                alpha=0.45, linewidths=0, label=label,
            )  # fmt: skip
        found = auc(rows, at, falls=at == 2)
        axis.set_title(f"{name}: AUC {found:.2f}" if found is not None else name)
        axis.set_xlabel(name)
        axis.axhline(LEVEL, color="#888", linewidth=0.8, linestyle=":")
        if at != 2:
            axis.set_xscale("log")
            axis.axvline(1, color="#888", linewidth=0.8, linestyle=":")
    axes[0].set_ylabel("simulated: part in time, per GPU")
    axes[0].legend(loc="lower left", fontsize=8)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=110)


def say(text):
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("families", nargs="+", help="families, or files with --show")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--output", type=Path)
    parser.add_argument("--most", type=int, default=10**6, help="fleets per family at most")
    parser.add_argument("--variants", help="some of the variants, apart by commas; default: all")
    parser.add_argument("--robust", type=int, default=0, help="fleets per family for robustness")
    parser.add_argument("--minutes", type=float, default=1e6, help="begin no fleet after these")
    parser.add_argument("--plot", type=Path, help="with --show: draw the scatter of all files")
    parser.add_argument("--show", action="store_true", help="print the tables of results")
    args = parser.parse_args()
    if args.show:
        for path in args.families:
            print(f"\n{path}\n\n{summary(json.loads(Path(path).read_text()))}")
        if args.plot:
            draw([json.loads(Path(path).read_text()) for path in args.families], args.plot)
        return
    wanted = args.variants.split(",") if args.variants else list(VARIANTS)
    result = {
        "kvplace": kvplace.__version__, "level": LEVEL, "variants": wanted, "fleets": [],
        "families": args.families,
    }  # fmt: skip
    if args.output and args.output.exists():
        result["fleets"] = json.loads(args.output.read_text())["fleets"]
    known = {one["fleet"]: one for one in result["fleets"]}
    started = time.monotonic()
    for family in args.families:
        say(family)
        for number, (name, fleet, seed) in enumerate(fleets(family, args.data)):
            if number >= args.most or time.monotonic() - started > 60 * args.minutes:
                break
            if name not in known:
                known[name] = run_fleet(name, fleet, seed, wanted)
                result["fleets"].append(known[name])
            elif number < args.robust and "robust" not in known[name]:
                known[name]["robust"] = robustness(fleet, seed, wanted)
                say(f"  {name}: robustness")
            if args.output:
                args.output.write_text(json.dumps(result, indent=1) + "\n")
    print(summary(result))


if __name__ == "__main__":
    main()
