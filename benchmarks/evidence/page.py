"""The tables and the figure of docs/evidence.md, made of records; the text between is written."""

import contextlib
import io
import json
import re
import statistics
import sys
from pathlib import Path

import tables
from play import LEVEL

BENCHMARKS = Path(__file__).parents[1]
RESULTS = BENCHMARKS / "results"
RECORD, PAGE = RESULTS / "evidence.json", BENCHMARKS.parent / "docs" / "evidence.md"
FIGURE = BENCHMARKS.parent / "docs" / "images" / "evidence.png"
CHECKED_GPUS = {
    "H100": "gpu_check_h100.json",
    "H100, another": "gpu_check_h100_second.json",
    "H200": "gpu_check_h200.json",
}
"""Records of `benchmarks/gpu_check.py` by the GPU that each was made on."""

_BLOCK = re.compile(r"(<!-- table: ([a-z-]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def merge(folder, path=RECORD):
    """Write the whole records of a folder into one file, without the placements."""
    records = [json.loads(one.read_text()) for one in sorted(folder.glob("*.json"))]
    records = [record for record in records if "served" in record]
    for record in records:
        del record["placements"]
    lines = ",\n".join(json.dumps(record, separators=(",", ":")) for record in records)
    path.write_text(f"[\n{lines}\n]\n")


def blocks():
    """Return every table of the page by its name."""
    sys.path.insert(0, str(BENCHMARKS))
    import real_engine_compare  # noqa: PLC0415 - beside this folder, not in it
    import real_placements  # noqa: PLC0415

    records = json.loads(RECORD.read_text())
    rows, _ = real_engine_compare.rows_of(json.loads((RESULTS / "real_engine.json").read_text()))
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        real_placements.show(json.loads((RESULTS / "real_placements.json").read_text()))
    return {
        "gains": tables.gains(records),
        "loads": tables.loads(records),
        "stated": tables.stated(records),
        "robustness": tables.robustness(records),
        "told": tables.told(records),
        "real-engine": tables.table(real_engine_compare.HEAD, rows),
        "real-placements": shown.getvalue().split("\n\n")[0],
        "published": published(),
        "sharing": sharing(),
        "crowd": crowd(),
    }


def published():
    """Return the replays of runs on shared GPUs, and how the sources come out (`replays.md`)."""
    text = (BENCHMARKS / "published" / "replays.md").read_text()
    lines, right = text.strip().split("\n\n")
    head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")]
                      for line in lines.splitlines())  # fmt: skip
    shown = [at for at, name in enumerate(head) if name not in ("model", "GPU", "prompt / output")]
    shared = [[row[at] for at in shown] for row in rows if row[1] == "Qwen3-4B"]
    sources = []
    for source in dict.fromkeys(row[0] for row in rows):
        mine = [row for row in rows if row[0] == source and row[-1] != "basis"]
        cells = [source, len(mine)]
        for at, what in enumerate(head):
            if what == "error":
                off = [abs(int(row[at].rstrip("%"))) for row in mine if row[at]]
                cells.append(f"{statistics.median(off):.0f} %")
        sources.append([*cells, sum(row[-1] == "right" for row in mine)])
    names = ["source", "lines", "median error of TTFT", "of the time per token", "right"]
    parts = (tables.table([head[at] for at in shown], shared), tables.table(names, sources))
    return "\n\n".join([*parts, right + "."])


def sharing():
    """Return how far each law of sharing is from the steps and requests measured on real GPUs."""
    rows = []
    for gpu, record in CHECKED_GPUS.items():
        found = json.loads((RESULTS / record).read_text())["parts"]
        for part, name in (("processes", "processes"), ("mps", "MPS")):
            for law, errors in found[part]["laws"].items():
                cells = [f"{errors[key]:.0%}" for key in ("median_error", "largest_error")]
                cells += [f"{error:.0%}" for error in found[part]["request_errors"][law].values()]
                rows.append([gpu, name, law, *(cell.replace("%", " %") for cell in cells)])
    head = ["GPU", "sharing", "law", "median error of a step", "largest", "requests: TTFT",
            "requests: time per token"]  # fmt: skip
    return tables.table(head, rows)


def crowd():
    """Return what the speeds of processes that decode side by side add up to, one alone being 1."""
    rows = []
    for gpu, record in CHECKED_GPUS.items():
        found = json.loads((RESULTS / record).read_text()).get("crowd")
        if found:
            rows.append([gpu, *(f"{row['speeds_add_up_to']:.3f}" for row in found)])
            counts = [row["processes"] for row in found]
    return tables.table(["3B decodes at once", *map(str, counts)], rows)


def filled(page, found):
    """Return a page whose tables are those given; every marked place must have one."""
    return _BLOCK.sub(lambda place: f"{place[1]}{found[place[2]]}\n{place[4]}", page)


def write():
    """Fill the tables of the page, and draw its figure."""
    PAGE.write_text(filled(PAGE.read_text(), blocks()))
    draw(json.loads(RECORD.read_text()), FIGURE)


def draw(records, path):
    """Draw what was attained on each GPU over what occupancy, time share and forecast say of it."""
    import matplotlib as mpl  # noqa: PLC0415 - tables are made without it

    mpl.use("agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    points = [row for one in tables.played(records, "slice") for row in one["gpus"]]
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.6), sharey=True, layout="constrained")
    for axis, name in zip(axes, ("occupancy", "time share", "forecast"), strict=True):
        at = tables.TELLS[name]
        rows = [row for row in points if row[at] is not None]
        for bad, colour in ((False, "#2c7fb8"), (True, "#d95f0e")):
            mine = [row for row in rows if (row[0] < LEVEL) is bad]
            label = f"{'below' if bad else 'at least'} {LEVEL:.0%} in time"
            axis.scatter(
                [max(row[at], 1e-3) for row in mine], [row[0] for row in mine], s=9, c=colour,
                alpha=0.45, linewidths=0, label=label,
            )  # fmt: skip
        axis.set_title(f"{name}: AUC {tables.auc(rows, at, falls=name == 'forecast'):.2f}")
        axis.set_xlabel("forecast part in time" if name == "forecast" else name)
        axis.axhline(LEVEL, color="#888", linewidth=0.8, linestyle=":")
        if name != "forecast":
            axis.set_xscale("log")
            axis.axvline(1, color="#888", linewidth=0.8, linestyle=":")
    axes[0].set_ylabel("simulated: part in time, per GPU")
    axes[0].legend(loc="lower left", fontsize=8)
    figure.savefig(path, dpi=110)
