"""Do plans that are told of bursts serve more under them?

    python benchmarks/bursts.py --seeds 3001,3002,3003,3004,3005,3006

Fleets as in `evidence.py` whose demands state a dispersion of 9 (gaps with a coefficient of
variation of 3). Each plan gets the same requests, 240 s under two seeds; the figure is the largest
load at which 95 % of them keep both objectives.
"""

import argparse
import dataclasses
import math
import statistics

import kvplace
from kvplace.bench.adrs_like import adrs_like
from kvplace.forecast.search import refine_forecast
from kvplace.simulate.served import served

DISPERSION = 9.0
BASE = "prism-greedy"


def plans(fleet, told):
    """Return placements by name: of a fleet, and of the same fleet that states its bursts."""
    start = kvplace.solve(fleet, objective="pressure", time_limit=2).placement
    tokens = fleet.with_objective("tokens")
    wide = dataclasses.replace(told, quantile=0.95)
    return {
        "pressure": start,
        "pressure at --quantile 95%": kvplace.solve(wide, time_limit=2).placement,
        "forecast-refined, not told": refine_forecast(fleet, start, kicks=5).placement,
        "forecast-refined, told": refine_forecast(told, start, kicks=5).placement,
        BASE: kvplace.solve(tokens, solver="prism-greedy").placement,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seeds", default="3001,3002,3003,3004,3005,3006")
    seeds = [int(seed) for seed in parser.parse_args().seeds.split(",")]
    rows = {}
    for seed in seeds:
        fleet = adrs_like(seed)
        demands = (dataclasses.replace(m.demand, dispersion=DISPERSION) for m in fleet.models)
        models = [
            dataclasses.replace(m, demand=demand)
            for m, demand in zip(fleet.models, demands, strict=True)
        ]
        told = dataclasses.replace(fleet, models=tuple(models))
        for name, placement in plans(fleet, told).items():
            load = served(told, placement, seconds=240.0, seeds=(0, 1)).load
            rows.setdefault(name, []).append(load)
    print(f"| plan | {' | '.join(map(str, seeds))} | geometric mean against {BASE} |")
    print(f"|{'---|' * (len(seeds) + 2)}")
    for name, loads in rows.items():
        ratios = [math.log(a / b) for a, b in zip(loads, rows[BASE], strict=True)]
        cells = " | ".join(f"{load:.2f}" for load in loads)
        print(f"| {name} | {cells} | {math.exp(statistics.fmean(ratios)):.2f} |")


if __name__ == "__main__":
    main()
