"""Write the tables of docs/benchmarks.md from benchmarks/results.

    python benchmarks/page.py            # rewrites what stands between the markers
    python benchmarks/page.py --check    # exits 1 where the page is not what it would write

A table stands between ``<!-- table NAME -->`` and ``<!-- end -->``; the text around is by hand.
"""

import argparse
import json
import math
import re
import sys
from collections import Counter
from pathlib import Path

from kvplace.bench.published import ADRS, STRESS_7_BEST
from kvplace.bench.tables import percent
from kvplace.units import format_seconds

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/benchmarks.md"
RESULTS = Path(__file__).parent / "results"
SAME = 1e-9

_BLOCK = re.compile(r"(<!-- table (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def load(name):
    """Return a recording, or None where there is none."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else None


def recorded():
    """Return all recordings, in the order of the page."""
    names = (match[2] for match in _BLOCK.finditer(PAGE.read_text("utf-8")))
    return [whole for name in names if isinstance(whole := load(name), dict)]  # a run of solvers


def table(rows):
    """Return rows of text as a Markdown table, all columns but the first to the right."""
    heads = list(rows[0])
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *(list(row.values()) for row in rows)]
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)


def number(value, form=".5f"):
    """Print a number, or a dash for none."""
    return "-" if value is None or not math.isfinite(value) else format(value, form)


def share(value):
    """Print a share, of which JSON has none where it is infinite."""
    return percent(math.inf if value is None else value)


def spread(mean, largest):
    """Print a mean and a largest share."""
    return f"{share(mean)} / {share(largest)}"


def summary(whole):
    """Return one line per family and solver."""
    families = len(whole["families"]) > 1
    rows = []
    for score in whole["scores"]:
        row = {"family": score["family"]} if families else {}
        rows.append(
            row
            | {
                "solver": f"`{score['solver']}`",
                "cases": score["cases"],
                "solved": score["solved"],
                "proved": score["proved"],
                "certified gap": spread(score["mean_gap"], score["max_gap"]),
                "above best bound": spread(score["mean_excess"], score["max_excess"]),
                "lower / higher than `auto`": f"{score['below_auto']} / {score['above_auto']}",
                "value to `reference`": number(score["ratio"]),
                "time": f"{format_seconds(score['seconds'] / score['cases'])} / "
                f"{format_seconds(score['longest_seconds'])}",
            }
        )
    return table(rows) + "\n" + origin(whole)


def origin(whole):
    """Say where and with what a recording was made."""
    place = whole["environment"]
    versions = ", ".join(f"{name} {version}" for name, version in place["versions"].items())
    commit = (place["commit"] or "unknown")[:10] + (
        " + changes" if place["commit_modified"] else ""
    )
    loads = ", ".join(f"{load:.1f}" for load in place["load_average"])
    seeds = whole["case_seeds"]
    span = f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else str(seeds[0])
    missing = "".join(f" Not run: {name} ({why})." for name, why in whole["absent"].items())
    return (
        f"*Limit {whole['time_limit_seconds']:g} s per case and solver; seeds {span}. "
        f"{place['recorded']}, commit {commit}, {place['cores']} cores of {place['processor']}, "
        f"load {loads} over the last 1, 5 and 15 minutes; {versions}.{missing}*\n"
    )


def scores_of_adrs():
    """Return the ADRS scores, measured and published."""
    rows = [
        {
            "program": f"`{score['solver']}`", "score": f"{score['score']:.6f}",
            "cases solved": score["solved"], "proved": score["proved"],
            "time, all cases": format_seconds(score["seconds"]), "source": "measured",
        }
        for score in load("adrs")["scores"]
    ]  # fmt: skip
    rows += [
        {
            "program": entry.program + ("" if entry.valid else " (not valid)"),
            "score": f"{entry.score:g}", "cases solved": "50" if entry.valid else "fewer",
            "proved": 0, "time, all cases": "-", "source": entry.source,
        }
        for entry in ADRS
    ]  # fmt: skip
    return table(rows)


def against_published():
    """Return stress seed 7 case by case against the best published programs."""
    runs = {(run["case"], run["solver"]): run for run in load("stress")["runs"]}
    rows = []
    for at, best in enumerate(STRESS_7_BEST):
        auto, reference = (runs[f"stress-7-{at}", solver] for solver in ("auto", "reference"))
        ratio = auto["value"] / best
        at_bound = best <= auto["bound"] * (1 + 1e-6)
        verdict = "lower" if ratio < 1 - SAME else "equal" if ratio <= 1 + SAME else "**higher**"
        rows.append(
            {
                "case": at, "`auto`": number(auto["value"], ".9g"),
                "best published": number(best, ".9g"),
                "`reference`": number(reference["value"], ".9g"),
                "`auto` to published": number(ratio, ".6f"),
                "`auto` is": verdict + (", published is optimal" if at_bound else ""),
                "certified gap": share(auto["gap"]), "time": format_seconds(auto["seconds"]),
            }
        )  # fmt: skip
    return table(rows)


def by_policy(whole):
    """Return what each solver reaches on each real fleet, and how many times that of `auto`."""
    rows = [
        {
            "fleet": run["family"], "solver": f"`{run['solver']}`",
            "max KVPR": number(run["value"], ".4g"),
            "to `auto`": number(run["value_to_auto"], ".4g"),
            "certified gap": share(run["gap"]) if run["bound"] else "-",
            "time": format_seconds(run["seconds"]),
        }
        for run in whole["runs"]
    ]  # fmt: skip
    return table(rows) + "\n" + origin(whole)


def beaten():
    """Return every case of every recording in which another solver reached a lower value."""
    rows = []
    for whole in recorded():
        for run in whole["runs"]:
            ratio = run["value_to_auto"]
            if ratio is not None and ratio < 1 - SAME:
                auto = next(
                    other for other in whole["runs"]
                    if other["case"] == run["case"] and other["solver"] == "auto"
                )  # fmt: skip
                rows.append(
                    {
                        "case": run["case"], "solver": f"`{run['solver']}`",
                        "its value": number(run["value"], ".9g"),
                        "`auto`": number(auto["value"], ".9g"),
                        "lower by": percent(1 - ratio),
                        "certified gap of `auto`": share(auto["gap"]),
                        "limit": f"{whole['time_limit_seconds']:g} s",
                    }
                )  # fmt: skip
    return table(rows) if rows else "None.\n"


def evidence():
    """Return what the bounds of `auto` rest on, per family."""
    rows = []
    for whole in recorded():
        for family in whole["families"]:
            kinds = Counter(
                run["evidence"] for run in whole["runs"]
                if run["family"] == family and run["solver"] == "auto"
            )  # fmt: skip
            listed = ", ".join(f"{n} x {kind}" for kind, n in sorted(kinds.items()))
            rows.append({"family": family, "cases": kinds.total(), "evidence": listed})
    return table(rows)


def growth():
    """Return how `auto` does from a thousand models to a million."""
    whole = load("growth")
    rows = []
    for row in sorted(whole["rows"], key=lambda row: row["models"]):
        to, at = row["cpu_seconds_to_gap"], row["gap_at_cpu_seconds"]
        rows.append(
            {
                "fleet": row["shape"], "models / GPUs": f"{row['models']:,} / {row['gpus']:,}",
                "certified gap": share(row["gap"]), "status": row["status"],
                "to 1 %": number(to["0.01"] or math.nan, ".2f"),
                "to 0.1 %": number(to["0.001"] or math.nan, ".2f"),
                "to 0.02 %": number(to["0.0002"] or math.nan, ".2f"),
                "gap at 4 s": share(at["4.0"]), "at 10 s": share(at["10.0"]),
                "CPU": format_seconds(row["cpu_seconds"]),
                "in argsorts": f"{row['cpu_seconds'] / row['argsort_seconds']:,.0f}",
                "rest": share(row["rest"]),
                "peak": f"{row['peak_bytes'] / 2**20:,.0f} MiB",
            }
        )  # fmt: skip
    fits = ", ".join(
        f"{shape} n^{exponent:.2f}" for shape, exponent in whole["exponents"].items() if exponent
    )
    place = whole["environment"]
    loads = ", ".join(f"{load:.1f}" for load in place["load_average"])
    return (
        f"{table(rows)}\nTime to a gap of 0.1 %, fitted from 10,000 models on: {fits}.\n\n"
        f"*{place['recorded']}, {place['cores']} cores of {place['processor']}, load {loads}; seed "
        "0, no time limit.*\n"
    )


def replanned(part):
    """Return what re-planning was measured to do."""
    whole = load(f"replan/{part}")
    if whole is None:
        return "*Not recorded yet.*\n"
    found, place = whole["found"], whole["environment"]
    made = {"frontier": _frontier, "churn": _churn, "scale": _large}[part](found)
    loads = ", ".join(f"{load:.1f}" for load in place["load_average"])
    return f"{made}\n*{place['recorded']}, {place['cores']} cores, load {loads}.*\n"


def _frontier(found):
    """Return the points at which the pressure falls, and a fresh plan."""
    rows, last = [], math.inf
    for point in found["points"]:
        if point["value"] < last * (1 - 1e-9):
            last = point["value"]
            knee = found["knee"] and found["knee"]["changes"] == point["changes"]
            rows.append(
                {
                    "changes": point["changes"], "max pressure": number(last, ".4f"),
                    "to now": f"{100 * (last / found['value_now'] - 1):+.1f} %",
                    "bound": number(point["bound"], ".4f"), "": "knee" if knee else "",
                }
            )  # fmt: skip
    fresh = found["fresh_plan"]
    rows.append(
        {
            "changes": f"{fresh['changes']} (fresh plan)",
            "max pressure": number(fresh["value"], ".4f"),
            "to now": f"{100 * (fresh['value'] / found['value_now'] - 1):+.1f} %",
            "bound": "-", "": "",
        }
    )  # fmt: skip
    return table(rows)


def _churn(found):
    """Return what became of every policy."""
    rows = [
        {
            "policy": row["policy"], "mean": number(row["mean"], ".3f"),
            "peak": number(row["peak"], ".3f"), "changes": f"{row['changes']:,}",
            "weights": f"{row['loaded_tib']:,.1f} TiB", "mean to scratch":
            number(row["mean_to_scratch"], ".3f"), "changes to scratch":
            percent(row["changes_to_scratch"]),
        }
        for row in found["policies"]
    ]  # fmt: skip
    return f"{table(rows)}\n{found['windows']:,} windows of ten minutes.\n"


def _large(found):
    """Return how long large fleets take, and how near to the bound they come."""
    return table(
        [
            {
                "models / GPUs": f"{row['models']:,} / {row['gpus']:,}",
                "changes": f"{row['changes']:,} of {row['moves_allowed']:,}",
                "max KVPR": f"{row['before']:.4g} -> {row['after']:.4g}",
                "above the bound": percent(row["after"] / row["bound"] - 1),
                "CPU": format_seconds(row["cpu_seconds"]), "wall": format_seconds(row["seconds"]),
            }
            for row in found
        ]
    )  # fmt: skip


def rendered(text):
    """Return the page with its tables written anew."""
    special = {
        "adrs-scores": scores_of_adrs, "stress-7": against_published,
        "beaten": beaten, "evidence": evidence, "growing": growth,
    }  # fmt: skip

    def block(match):
        name = match[2]
        if name in special:
            made = special[name]()
        elif name.startswith("replan-"):
            made = replanned(name.removeprefix("replan-"))
        else:
            whole = load(name)
            table_of = by_policy if name.startswith(("fleets", "pools", "clusters")) else summary
            made = table_of(whole) if whole else "*Not recorded yet.*\n"
        return f"{match[1]}\n{made}\n{match[3]}"

    return _BLOCK.sub(block, text)


def main(arguments=None):
    raw = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--check", action="store_true", help="change nothing")
    options = parser.parse_args(arguments)
    before = PAGE.read_text("utf-8")
    after = rendered(before)
    if options.check:
        return int(before != after)
    PAGE.write_text(after, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
