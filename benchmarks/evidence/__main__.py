"""Does a placement serve? One command plays placements of many fleets and fills docs/evidence.md.

    python benchmarks/evidence run --records DIR [FLEET...]   # in slices: what DIR has is kept
    python benchmarks/evidence write --records DIR            # benchmarks/results/evidence.json
    python benchmarks/evidence write                          # tables and figure of the page

Fixed before the first run, and the same for all fleets: the fleets (`fleets.py`), the placements
and the steps of each search (`plans.py`), the assumptions that are broken, the seed 0 of the
requests, the seconds, and the metrics (`play.py`, `tables.py`). `all95` is the largest load at
which 95 % of all requests keep every objective; engines run on time slices with one KV pool per
GPU, and requests come as a Poisson process, unless a case says otherwise. Every placement of a
fleet gets the same requests.

A slice ends after `--minutes`, in the middle of a fleet too: its record says what it has.
"""

import argparse
import json
import sys
import time
from pathlib import Path

from fleets import BROKEN, DRAWN, NAMES, fleet, seed_of
from plans import placements, restored, stored
from play import LEVEL, ROBUST, SECONDS, SHARING, as_stated, beside_forecasts, robust

import kvplace
from page import merge, write

PARTS = ("served", *(f"forecasts, {sharing}" for sharing in SHARING), *ROBUST)
"""Of a record. Where an assumption is broken, it is on the fleets of `BROKEN` alone."""


def part(key, problem, seed, found):
    """Return one part of a record."""
    if key == "served":
        return as_stated(problem, found)
    if key in ROBUST:
        return robust(problem, seed, found, key)
    return list(beside_forecasts(problem, found, key.removeprefix("forecasts, ")))


def run(names, folder, data, minutes):
    """Make what is missing of the records of fleets, until the time is over."""
    started = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    for keys in (PARTS[: -len(ROBUST)], PARTS[-len(ROBUST) :]):
        for name in names:
            path = folder / f"{name}.json"
            record = json.loads(path.read_text()) if path.exists() else {
                "fleet": name, "kvplace": kvplace.__version__, "level": LEVEL,
                "seconds": SECONDS, "cpu_seconds": {},
            }  # fmt: skip
            missing = [key for key in keys if key not in record]
            if not missing or (missing[0] in ROBUST and name in DRAWN and name not in BROKEN):
                continue
            problem, seed = fleet(name, data), seed_of(name)
            for key in ("placements", *missing):
                if key in record:
                    continue
                if time.monotonic() - started > 60 * minutes:
                    return
                clock = time.process_time()
                if key == "placements":
                    made = {name: stored(one) for name, one in placements(problem, seed).items()}
                else:
                    known = {v: restored(rows) for v, rows in record["placements"].items()}
                    made = part(key, problem, seed, known)
                record[key] = made
                record["cpu_seconds"][key] = round(time.process_time() - clock, 1)
                path.write_text(json.dumps(record) + "\n")
                say(f"{path.stem}: {key}, {record['cpu_seconds'][key]} s")


def say(text):
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    runs = verbs.add_parser("run", help="play fleets")
    runs.add_argument("fleets", nargs="*", default=list(NAMES), help=f"{', '.join(NAMES)}")
    runs.add_argument("--records", type=Path, required=True, help="folder with a file per fleet")
    runs.add_argument("--data", type=Path, default=Path("../shared/data"))
    runs.add_argument("--minutes", type=float, default=1e6, help="begin nothing after these")
    writes = verbs.add_parser("write", help="fill the tables of the page")
    writes.add_argument("--records", type=Path, help="folder to merge into the record first")
    args = parser.parse_args()
    if args.verb == "run":
        run(args.fleets, args.records, args.data, args.minutes)
        return
    if args.records:
        merge(args.records)
    write()


if __name__ == "__main__":
    main()
