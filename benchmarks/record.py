"""Measure what docs/benchmarks.md shows and write it to benchmarks/results.

    python benchmarks/record.py                 # all of it, about 20 minutes
    python benchmarks/record.py adrs stress     # some of it
    python benchmarks/record.py --seconds 0.2 --to /tmp/try    # a rehearsal

Needs an otherwise idle machine. Rivals that are not installed are named in the file as absent.
Then: python benchmarks/page.py
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from kvplace.bench.cases import cases_of
from kvplace.bench.document import document
from kvplace.bench.environment import environment
from kvplace.bench.measure import measure
from kvplace.bench.plot import draw_gaps
from kvplace.bench.solvers import OWN, POLICIES, RIVALS, absent
from kvplace.report.tables.scores import rows_json
from pools import POOLS, write_pool

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
FLEETS = ROOT.parent / "shared/data/fleets"
OBJECTIVES = ("requests", "tokens", "occupancy")
FILLS = range(3)
"""Seeds of what the pools are filled with."""


def fleet(name):
    """Return the path of a real fleet."""
    return str(FLEETS / f"{name}.yaml")


EVERY = (*OWN, *RIVALS)
PAIR = ("auto", "reference")
TODAY = ("auto", "prism-greedy", *POLICIES)
PLAN = {
    # name: families, limit in seconds, parts of (seeds, solvers)
    "adrs": (["adrs"], 2.0, [(range(1), EVERY)]),
    "stress": (["stress"], 1.0, [(range(1, 11), OWN)]),
    "certified": (
        ["20x40", "20x50", "50x100"], 2.0, [(range(2), EVERY), (range(2, 10), PAIR)],
    ),
    "hard": (
        ["20x60", "50x150", "100x200"], 10.0, [(range(2), EVERY), (range(2, 10), PAIR)],
    ),
    "scale": (["scale-10-1k"], 1.0, [(range(2), EVERY), (range(2, 10), PAIR)]),
    "scale-10k": (["scale-10-10k"], 0.5, [(range(2), ("auto", "reference", "rebalancer"))]),
    "real": ([fleet("openrouter-47")], 1.0, [(range(1), EVERY)]),
    "fleets": (
        [fleet("lmsys-16"), fleet("openrouter-47"), fleet("openrouter-60")], 5.0,
        [(range(1), TODAY)],
    ),
    "fleets-large": ([fleet("openrouter-103")], 20.0, [(range(1), TODAY)]),
    "clusters": (["scale-real-3k", "scale-real-200k"], 20.0, [(range(2), ("auto",))]),
    "pools": (list(POOLS), 60.0, [(range(1), ("auto",))]),
}  # fmt: skip
ROUNDED = (
    "gap", "excess", "seconds", "value_to_reference", "seconds_to_reference", "value_to_auto",
)  # fmt: skip
"""What follows from other numbers or is a time: ten digits do, and the files are smaller."""
DRAWN = {"hard": ("gaps-hard.svg", range(2)), "stress": ("gaps-stress.svg", range(1, 11))}
"""Plots: of which seeds, so that all curves of one plot are over the same cases."""


def record(name, folder, seconds):
    """Measure one recording and write its file."""
    families, limit, parts = PLAN[name]
    if name == "pools":
        with tempfile.TemporaryDirectory() as made:
            written = [write_pool(pool, fill, Path(made)) for pool in families for fill in FILLS]
            if all(written):
                measured(name, list(map(str, written)), seconds or limit, parts, folder)
        return
    if families[0] == fleet(Path(families[0]).stem) and not FLEETS.exists():
        print(f"{name}: skipped, there is no {FLEETS}", file=sys.stderr)
        return
    measured(name, families, seconds or limit, parts, folder)


def measured(name, families, limit, parts, folder):
    """Measure families and write the file."""
    place = environment()  # before anybody can change a file
    runs, missing, drawn = [], {}, []
    for seeds, solvers in parts:
        missing |= {solver: why for solver in solvers if (why := absent(solver))}
        objectives = OBJECTIVES if name == "real" else ()
        cases = cases_of(families, seeds, objectives=objectives)
        present = [solver for solver in solvers if solver not in missing]
        new = measure(
            cases, present, time_limit=limit, told=teller(name, len(cases) * len(present))
        )
        runs += new
        if name in DRAWN and set(seeds) <= set(DRAWN[name][1]):
            drawn += new
    seeds = sorted({seed for part, _ in parts for seed in part})
    place["load_average"] = environment()["load_average"]
    facts = {"seeds": seeds, "seed": 0, "time_limit": limit, "environment": place}
    told = document(runs, absent=missing, **facts)
    whole = json.loads(rows_json(told))  # without numbers that JSON lacks
    for row in whole["runs"]:
        row |= {key: rounded(row[key]) for key in ROUNDED}
    (folder / f"{name}.json").write_text(compact(whole), "utf-8")
    if drawn:
        draw_gaps(drawn, str(folder / DRAWN[name][0]))


def rounded(number):
    """Return a number with ten significant digits; None stays None."""
    return None if number is None else float(f"{number:.10g}")


def compact(whole):
    """Return a document as JSON with one line per run and score: small, and diffs can be read."""
    lines = []
    for key, value in whole.items():
        if key in {"scores", "runs"}:
            rows = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in value)
            lines.append(f' "{key}": [\n{rows}\n ]')
        else:
            lines.append(f' "{key}": {json.dumps(value, ensure_ascii=False)}')
    return "{\n" + ",\n".join(lines) + "\n}\n"


def teller(name, total):
    """Return what says how far a recording is."""

    def tell(solver, done):
        if done % 25 == 0:
            print(f"{name}: {done}/{total}, now {solver}", file=sys.stderr, flush=True)

    return tell


def main(arguments=None):
    raw = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("names", nargs="*", choices=[[], *PLAN], help="recordings; all by default")
    parser.add_argument("--seconds", type=float, help="another limit per case, for a rehearsal")
    parser.add_argument("--to", type=Path, default=RESULTS, help="folder to write to")
    options = parser.parse_args(arguments)
    options.to.mkdir(parents=True, exist_ok=True)
    for name in options.names or PLAN:
        record(name, options.to, options.seconds)


if __name__ == "__main__":  # also protects the process that CP-SAT runs in
    main()
