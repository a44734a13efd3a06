"""Scenarios: what-if windows in which the demand of some models is a multiple of what is stated."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from kvplace.core.models.demand import Demand
from kvplace.core.models.model import Model
from kvplace.core.models.model_table import DemandColumns, ModelTable
from kvplace.core.models.objective import Objective
from kvplace.core.models.window import Window
from kvplace.core.problem import Problem
from kvplace.errors import Fault, InputError

HOTTEST = 8
"""Models of which any may be asked for more than is stated."""
MOST_WINDOWS = 24
"""Windows and scenarios that a plan is made for, as long as one model can be hottest."""


def imagined(models: Sequence[Model], windows: Sequence[Window]) -> Sequence[Model]:
    """Return models that state their demand in what-if windows as well.

    Parameters
    ----------
    models
        With their demand in all other windows.
    windows
        All windows.

    Raises
    ------
    InputError
        A what-if is like a window or names a model that there is not.
    """
    known = {window.name for window in windows if not window.like}
    what_ifs = [window for window in windows if window.like]
    if not what_ifs:
        return models
    table = models if isinstance(models, ModelTable) else None
    names = set(table.names if table else (model.name for model in models))
    faults = []
    for at, window in enumerate(windows):
        if window.like and window.like not in known:
            faults.append(Fault(f"there is no window {window.like!r}", f"windows[{at}].like"))
        faults += [
            Fault(f"there is no model {name!r}", f"windows[{at}].models")
            for name in window.models
            if name not in names
        ]
    if faults:
        raise InputError(faults)
    if table is not None:
        return _imagined_table(table, windows)
    hit = {name for window in what_ifs for name in window.models}
    return tuple(
        _imagined(model, windows) if model.windows or model.name in hit else model
        for model in models
    )


def _imagined(model: Model, windows: Sequence[Window]) -> Model:
    """Return a model that states its demand in every window."""
    stated = {w.name: model.demand_in(w.name) for w in windows if not w.like}
    if not stated.keys() >= model.windows.keys() - {w.name for w in windows} or (
        model.windows and not model.windows.keys() >= stated.keys()
    ):
        return model  # its windows are wrong, which is told of the problem
    for window in windows:
        if window.like:
            demand = stated[window.like]
            stated[window.name] = _times(demand, window) if model.name in window.models else demand
    return replace(model, windows=stated)


def _times(demand: Demand, window: Window) -> Demand:
    return replace(demand, requests_per_second=demand.requests_per_second * window.factor)


def _imagined_table(table: ModelTable, windows: Sequence[Window]) -> ModelTable:
    """Return a table that states its demand in every window; columns that are alike are shared."""
    row_of = {name: row for row, name in enumerate(table.names)}
    mean = DemandColumns("", table.requests_per_second, table.prompt_tokens, table.output_tokens)
    given = {demand.name: demand for demand in table.windows_of_demand}
    found: dict[str, DemandColumns] = {}
    for window in windows:
        if not window.like:
            found[window.name] = replace(given.get(window.name, mean), name=window.name)
    for window in windows:
        if window.like:
            rates = found[window.like].requests_per_second[:]
            for name in window.models:
                rates[row_of[name]] *= window.factor
            like = found[window.like]
            found[window.name] = replace(like, name=window.name, requests_per_second=rates)
    return replace(table, windows_of_demand=tuple(found[window.name] for window in windows))


def with_scenarios(problem: Problem, scenarios: Iterable[Window]) -> Problem:
    """Return a problem in which a plan must hold in some what-if windows as well.

    Raises
    ------
    InputError
        The objective is not ``pressure``, which alone knows windows, or as `imagined`.
    """
    new = tuple(scenarios)
    if not new:
        return problem
    _need_pressure(problem)
    windows = (*problem.windows, *new)
    return replace(problem, models=imagined(problem.models, windows), windows=windows)


def _need_pressure(problem: Problem) -> None:
    """Refuse a problem under another objective: what it lacks has no load and no share of time."""
    if problem.goal is not Objective.PRESSURE:
        missing = dict.fromkeys(what for _, what in problem.lacking(Objective.PRESSURE))
        few = ", ".join(list(missing)[:3])
        few += f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        why = f"; not known here: {few}" if few else ""
        message = f"what-if windows and robust plans need pressure, not {problem.goal.value}{why}"
        way = "ask for that objective (--objective pressure), and GPU time is estimated"
        raise InputError([Fault(f"{message}; {way}", "objective")])


def without_scenarios(problem: Problem) -> Problem:
    """Return the problem of the demand that is stated, without its what-if windows."""
    kept = tuple(window for window in problem.windows if not window.like)
    if len(kept) == len(problem.windows):
        return problem
    names = {window.name for window in kept}
    models = problem.models
    if isinstance(models, ModelTable):
        stated = tuple(d for d in models.windows_of_demand if d.name in names)
        return replace(problem, models=replace(models, windows_of_demand=stated), windows=kept)
    return replace(
        problem,
        models=tuple(
            replace(model, windows={n: d for n, d in model.windows.items() if n in names})
            for model in models
        ),
        windows=kept,
    )


def hottest(problem: Problem, most: int = HOTTEST) -> list[str]:
    """Return the models that ask for most GPUs, the hottest first.

    How many GPUs a model asks for is, of KV memory, its load over the usable memory of the largest
    GPU, and of time its share; the larger of both counts, in the window and with the option and GPU
    type for which it is largest, largest and smallest.

    Parameters
    ----------
    problem
        Under the objective ``pressure``.
    most
        Models at most; a model without demand is none of them.
    """
    table, options = problem.pressures.table, problem.option_table
    memory = max(gpu.usable_bytes for gpu in problem.fleet.gpus)
    asked = []
    for index, name in enumerate(problem.names):
        least = None
        for row in range(options.starts[index], options.starts[index + 1]):
            shards = options.degrees[row] * options.copies[row]
            load = max(table.loads_of(row)) / memory
            share = min(max(table.shares_of(row, at)) for at in range(len(table.gpu_types)))
            need = shards * max(load, share)
            least = need if least is None else min(least, need)
        if least:
            asked.append((-least, name))
    return [name for _, name in sorted(asked)[:most]]


def robust_windows(
    problem: Problem, factor: float, *, most: int = HOTTEST, together: bool | None = None
) -> tuple[Window, ...]:
    """Return scenarios in which the hottest models are asked for more than is stated.

    Parameters
    ----------
    problem
        Under the objective ``pressure``.
    factor
        On the rate of the models that are hit, at least 1.
    most
        Hottest models; fewer where there are many windows.
    together
        True for the scenarios in which all of them are hit at once, False for those in which one
        is, None for both. What holds when all are hit holds when any of them is.

    Raises
    ------
    InputError
        The factor is below 1 or not finite, or the objective is not ``pressure``.
    """
    _need_pressure(problem)
    if not 1 <= factor < float("inf"):
        message = f"the factor {factor!r} on demand must be finite and at least 1"
        raise InputError([Fault(message, "robust")])
    stated = [window for window in problem.windows if not window.like]
    if together is not True:
        most = max(1, min(most, MOST_WINDOWS // len(stated) - 2))
    models = hottest(without_scenarios(problem), most)
    taken = {window.name for window in problem.windows}
    found = []
    for window in stated:
        where = f" in {window.name}" if len(stated) > 1 else ""
        hit: list[tuple[str, ...]] = [(name,) for name in models]
        if together and len(models) > 1:
            hit = []
        if together is not False and len(models) > 1:
            hit.append(tuple(models))
        for named in hit:
            what = named[0] if len(named) == 1 else f"the {len(named)} hottest"
            name = f"{factor:g} x {what}{where}"[:200].strip()
            while name in taken:
                name += "'"
            taken.add(name)
            found.append(Window(name, window.weight, window.name, factor, named))
    return tuple(found)
