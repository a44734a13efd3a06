"""Records of fleets as tables: who serves how many times as much, and what told it before."""

import math
import random
import statistics

import numpy as np
from fleets import DRAWN, FILES, LOGS
from plans import BASE, PACKED, PRESSURE, QUANTILE, REFINED, TOLD, VARIANTS
from play import LEAST, LEVEL, ROBUST, SHARING

NEAR = 0.1
"""Distance of a forecast that counts as near."""

GROUPS = {"drawn": tuple(DRAWN), "public and logs": (*FILES, *LOGS)}
TELLS = {"occupancy": 3, "time share": 4, "busy time": 2, "forecast": 1}
"""What is looked at, by its place in the row of a GPU."""


def interval(ratios):
    """Return the geometric mean of ratios and its 90 % bootstrap interval."""
    logs = [math.log(r) for r in ratios]
    rng = random.Random(0)
    drawn = sorted(statistics.fmean(rng.choices(logs, k=len(logs))) for _ in range(2000))
    return [math.exp(v) for v in (statistics.fmean(logs), drawn[100], drawn[1899])]


def ratios(records, load, variant, base=BASE):
    """Return the loads of a variant over those of another one, fleet by fleet."""
    found = []
    for record in records:
        mine, other = load(record, variant), load(record, base)
        if mine is not None and other is not None:
            # A smaller load counts as this, on either side: chance decides how small it is.
            found.append(max(mine, LEAST) / max(other, LEAST))
    return found


def of(key, metric=None):
    """Return how to find the load of a variant in a record."""

    def load(record, variant):
        row = record.get(key, {}).get(variant)
        return row.get(metric) if metric and row is not None else row

    return load


def table(head, rows):
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def with_interval(values):
    """Return a geometric mean with its interval as text."""
    if not values:
        return "-"
    mean, low, high = interval(values)
    return f"{mean:.2f} [{low:.2f}, {high:.2f}]"


def percent(part):
    """Return a part as text."""
    return f"{100 * part:.0f} %"


def chosen(records, names):
    """Return the records of some fleets, in that order."""
    known = {record["fleet"]: record for record in records}
    return [known[name] for name in names if name in known]


def gains(records):
    """Return who serves how many times as much as the greedy rule."""
    groups = {name: chosen(records, names) for name, names in GROUPS.items()}
    groups["all"] = [record for some in groups.values() for record in some]
    head = ["all95, against the greedy rule"]
    head += [f"{name} ({len(some)})" for name, some in groups.items()]
    head += ["least", "median", "most", "serves less on"]
    rows = []
    load = of("served", "all95")
    for variant in VARIANTS:
        every = ratios(groups["all"], load, variant)
        if variant == BASE or not every:
            continue
        cells = [with_interval(ratios(some, load, variant)) for some in groups.values()]
        cells += [f"{v:.2f}" for v in (min(every), statistics.median(every), max(every))]
        rows.append([variant, *cells, f"{sum(v < 0.995 for v in every)} of {len(every)}"])
    return table(head, rows)


def loads(records):
    """Return the load that each plan serves, fleet by fleet."""
    names = [name for some in GROUPS.values() for name in some]
    shown = [v for v in VARIANTS if any(v in record["served"] for record in records)]
    rows = []
    for record in chosen(records, names):
        found = [of("served", "all95")(record, variant) for variant in shown]
        cells = ["-" if one is None else f"{one:.2f}" for one in found]
        rows.append([record["fleet"], *(f"< {LEAST}" if one == "0.00" else one for one in cells)])
    return table(["all95", *shown], rows)


def stated(records):
    """Return what is in time at the stated demand, on the mean over fleets."""
    rows = []
    for variant in VARIANTS:
        found = [r["served"][variant] for r in records if variant in r["served"]]
        if found and variant not in PACKED:  # those were played only where they keep the least load
            keys = ("in time", "mean over models", "worst GPU")
            parts = [percent(statistics.fmean(row[key] for row in found)) for key in keys]
            rows.append([variant, len(found), *parts])
    head = ["at the stated demand", "fleets", "requests in time", "mean over models", "worst GPU"]
    return table(head, rows)


def robustness(records):
    """Return the same ratios where an assumption does not hold, and what the base loses by it."""
    records = [record for record in records if all(case in record for case in ROBUST)]
    rows = []
    for variant in (PRESSURE, REFINED, TOLD, QUANTILE):
        found = [ratios(records, of(case), variant) for case in ROBUST]
        if any(found):
            rows.append([variant, *map(with_interval, found)])
    kept = ["the greedy rule itself, against as stated"]
    for case in ROBUST:
        pairs = [(of(case)(r, BASE), of("served", "all95")(r, BASE)) for r in records]
        kept.append(with_interval([max(a, LEAST) / max(b, LEAST) for a, b in pairs]))
    head = [f"all95, against the greedy rule ({len(records)} fleets)", *ROBUST]
    return table(head, [*rows, kept])


def auc(rows, at, *, falls):
    """Return how well a column tells GPUs below the level from those above; NaN without both."""
    bad = np.array([row[at] for row in rows if row[0] < LEVEL])
    good = np.array([row[at] for row in rows if row[0] >= LEVEL])
    if not len(bad) or not len(good):
        return math.nan
    sign = -1 if falls else 1
    wins = (sign * bad[:, None] > sign * good).mean()
    return float(wins + 0.5 * (bad[:, None] == good).mean())


def played(records, sharing):
    """Return all that was held against forecasts under one sharing."""
    key = f"forecasts, {sharing}"
    return [one for record in records for one in record.get(key, ())]


def told(records):
    """Return how well forecasts tell what the simulation finds."""
    head = [
        "fleets",
        "sharing",
        "GPUs, below 95 %",
        *(f"AUC of the {name}" for name in TELLS),
        "models",
        "within 10 points",
        "mean error",
    ]
    rows = []
    for group, names in GROUPS.items():
        some = chosen(records, names)
        for sharing in SHARING:
            found = played(some, sharing)
            gpus = [row for one in found for row in one["gpus"]]
            pairs = np.array([pair for one in found for pair in one["models"]])
            if not gpus:
                continue
            off = pairs[:, 1] - pairs[:, 0]
            known = [
                auc([row for row in gpus if row[at] is not None], at, falls=name == "forecast")
                for name, at in TELLS.items()
            ]
            rows.append([
                group, sharing, f"{len(gpus)}, {sum(row[0] < LEVEL for row in gpus)}",
                *(f"{one:.3f}" for one in known), len(pairs), percent((abs(off) <= NEAR).mean()),
                f"{100 * off.mean():+.1f} points",
            ])  # fmt: skip
    return table(head, rows)
