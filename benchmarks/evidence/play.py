"""What is measured of the placements of one fleet: loads that are served, and forecasts beside."""

from collections import defaultdict

import numpy as np
from plans import BASE, PACKED, PRESSURE, QUANTILE, REFINED, TOLD, VARIANTS

import kvplace
from kvplace.core.evaluation.evaluate import evaluate
from kvplace.forecast.forecast import forecast
from kvplace.forecast.rules import Rules
from kvplace.forecast.times import StepTimes
from kvplace.simulate.run import simulate
from kvplace.simulate.served import served
from kvplace.simulate.traffic import Drawn

LEVEL, LEAST = 0.95, 0.1
"""What is to be kept, and the load below which nobody looks: it counts as 0, and then as this."""

SECONDS = 300.0
"""Of traffic at loads of 1 and more; lower loads get as many requests."""

MAIN = (BASE, PRESSURE, REFINED)
SHARING = {"slice": (0.5, 1.0, 2.0), "mps": (1.0, 2.0), "none": (1.0, 2.0)}
"""At which loads forecasts are held against the simulation."""

MODEL, GPU = 30, 20
"""Requests from which a model and a GPU are compared."""

WRONG = 0.2


class WrongTimes(StepTimes):
    """Step times up to 20 % away from those that the planner knows, by a factor for each model."""

    def __init__(self, fleet, seed):
        super().__init__()
        factors = np.random.default_rng(seed).uniform(1 - WRONG, 1 + WRONG, len(fleet.models))
        self.factors = dict(zip(fleet.names, factors, strict=True))

    def of(self, model, *where):
        known = super().of(model, *where)
        scaled = {
            name: getattr(known.times, name) * self.factors[model.name]
            for name in known.times._fields
            if name.endswith("_seconds")
        }
        return known._replace(times=known.times._replace(**scaled))


ROBUST = {
    "bursts": lambda _fleet, _seed: {"burst": 3.0},
    "mps": lambda _fleet, _seed: {"rules": Rules("mps")},
    "none": lambda _fleet, _seed: {"rules": Rules("none")},
    "static pools": lambda _fleet, _seed: {"rules": Rules(pool="static")},
    "wrong times": lambda fleet, seed: {"times": WrongTimes(fleet, seed)},
}
"""What is different from what the planner assumed, by name."""


def as_stated(fleet, found):
    """Return the load that each placement serves as the planner assumes it."""
    rows = {}
    for name in (one for one in VARIANTS if one in found):
        placement = found[name]
        rows[name] = {"all95": 0.0}
        if name in PACKED and not keeps_least(fleet, placement):
            continue
        one = served(fleet, placement, level=LEVEL, seconds=SECONDS)
        at_one = one.simulation.at(1.0)[0]
        rows[name] = {
            "all95": round(one.load, 4),
            "grid": [[round(load, 4), round(share, 4)] for load, share in one.grid()],
            "in time": round(at_one.attainment, 4),
            "mean over models": round(at_one.mean_attainment, 4),
            "worst GPU": round(at_one.worst_gpu.attainment, 4),
        }
    return rows


def keeps_least(fleet, placement):
    """Return whether the least load is served: where it is not, ten greater ones are not tried."""
    traffic = Drawn(fleet.models, SECONDS, stretched=True)
    found = simulate(fleet, placement, loads=(LEAST,), seconds=SECONDS, traffic=traffic)
    return found.attainment(LEAST) >= LEVEL


def robust(fleet, seed, found, case):
    """Return the load that placements serve where one assumption does not hold."""
    wanted = (*MAIN, *((TOLD, QUANTILE) if case == "bursts" else ()))
    options = ROBUST[case](fleet, seed)
    return {
        name: round(served(fleet, found[name], level=LEVEL, seconds=SECONDS, **options).load, 4)
        for name in wanted
        if name in found
    }


def beside_forecasts(fleet, found, sharing):
    """Yield what was attained at each load, and what was known of it before, plan by plan."""
    rules = Rules(sharing)
    for name in (one for one in MAIN if one in found):
        for load in SHARING[sharing]:
            options = {"loads": (load,), "seconds": 1.5 * SECONDS, "rules": rules}
            real = simulate(fleet, found[name], **options).outcomes[0]
            told = forecast(fleet, found[name], load=load, rules=rules)
            yield {
                "plan": name, "load": load, "sharing": sharing,
                "attained": round(real.attainment, 4), "forecast": round(told.attainment, 4),
                "models": models(real, told), "gpus": gpus(fleet, found[name], real, told, load),
            }  # fmt: skip


def models(real, told):
    """Return what was attained and forecast of each model that had enough requests."""
    return [
        [round(one.attainment, 4), round(guess.attainment, 4)]
        for one, guess in zip(real.models, told.models, strict=True)
        if one.requests >= MODEL
    ]


def gpus(fleet, placement, real, told, load):
    """Return, per GPU, what was attained, forecast and busy, its occupancy and its time share."""
    asked = {gpu.id: float(gpu.requests) for gpu in real.gpus}
    # Requests that no pool can hold reach no engine: they count where their model is.
    copies = defaultdict(list)
    for copy in placement.replicas:
        copies[copy.model].append(copy)
    for model in real.models:
        for copy in copies[model.name]:
            for gpu in copy.gpus:
                asked[gpu] += model.too_long / len(copies[model.name])
    try:
        known = evaluate(fleet.with_objective("pressure"), placement)
        shares = [max(gpu.time_shares, default=0.0) for gpu in known.gpus]
    except kvplace.InputError:  # no shape is known of some model
        shares = [None] * len(real.gpus)
    kvprs = evaluate(fleet.with_objective("occupancy"), placement).kvprs
    rows = zip(real.gpus, told.gpus, kvprs, shares, strict=True)
    return [
        [round(one.kept / asked[one.id], 4), round(guess.attainment, 4), round(guess.busy, 4),
         round(load * kvpr, 4), None if share is None else round(load * share, 4)]
        for one, guess, kvpr, share in rows
        if asked[one.id] >= GPU
    ]  # fmt: skip
