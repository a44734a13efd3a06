"""What must hold of the models of a fleet beside the form of each: degrees, names, objectives."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from kvplace.core.models.model import Model
from kvplace.core.models.objective import Objective, default_objective
from kvplace.errors import Fault, InputError
from kvplace.formats.diagnostics import Path, Report, path_of, shown

ALREADY = "is already the name of"
_DEGREES = 64
"""Tensor parallel degrees up to which a message names those that engines take."""


def with_degrees(index: int, model: Model, report: Report, assumed: list[str]) -> Model:
    """Return a model without the degrees that engines refuse; a fault where none is left.

    Parameters
    ----------
    index
        Number of the model in its file.
    model
        The model.
    report
        Where faults go.
    assumed
        Gets a sentence for degrees that are left out.
    """
    if not any(map(model.refused, model.tensor_parallel)):
        return model
    reasons = {degree: model.refused(degree) for degree in model.tensor_parallel}
    left = tuple(degree for degree, reason in reasons.items() if not reason)
    refused = ", ".join(f"{degree}: {reason}" for degree, reason in reasons.items() if reason)
    if left:
        assumed.append(f"{model.name}: left out, as engines refuse it, a degree of {refused}")
        resident = tuple(pair for pair in model.resident if not reasons.get(pair[0]))
        return replace(model, tensor_parallel=left, resident=resident)
    taken = ", ".join(map(str, model.accepted_degrees(_DEGREES)))
    report.add(
        ("models", index, "tensor_parallel"),
        f"engines refuse {shown(model.name)} at {refused}; they take {taken}",
    )
    return model


@contextmanager
def faults_at(path: Path, report: Report, further: str = "") -> Iterator[None]:
    """Note at a path what a reader of its text finds wrong, and what may be done further."""
    try:
        yield
    except InputError as error:
        if error.source:  # the user's own catalogue is wrong, not this file
            raise
        for fault in error.faults:
            report.add(path, f"{fault.message}{further}")


@contextmanager
def core_faults(report: Report) -> Iterator[None]:
    """Tell what the core finds wrong in the words of a file."""
    try:
        yield
    except InputError as error:
        for fault in error.faults:
            report.add(path_of(fault.path), fault.message)
        report.refuse()
        raise


def cross_check(
    names: Iterable[object],
    models: Sequence[Model | None],
    objective: Objective | None,
    report: Report,
) -> None:
    """Note names given twice, and fields that the objective lacks.

    Parameters
    ----------
    names
        What the file gives as the name of each model.
    models
        The models; None for a faulty one.
    objective
        The load asked for; None for the default of the models.
    report
        Where faults go.
    """
    for index, message in doubled(names):
        report.add(("models", index, "name"), message)
    if objective is None:
        complete = [model for model in models if model is not None]
        # A faulty model may change the default; what `requests` needs is needed in any case.
        whole = len(complete) == len(models)
        objective = default_objective(complete) if whole else Objective.REQUESTS
    for index, model in enumerate(models):
        if model is not None:
            _check_load(model, objective, ("models", index), report)
            _check_objectives(model, ("models", index), report)


def doubled(names: Iterable[object]) -> Iterator[tuple[int, str]]:
    """Yield the positions of names that are there before, and what is to be said of each."""
    seen: dict[str, int] = {}
    for index, name in enumerate(names):
        if isinstance(name, str) and seen.setdefault(name, index) != index:
            yield index, f"{shown(name)} {ALREADY} models[{seen[name]}]"


def _check_objectives(model: Model, path: Path, report: Report) -> None:
    """Note latency objectives of 0, which nothing can keep."""
    slo = model.slo
    if 0 not in (slo.ttft_seconds, slo.tpot_seconds, slo.latency_seconds):
        return
    for name in ("ttft", "tpot", "latency"):
        place = (*path, "slo", name)
        if getattr(model.slo, f"{name}_seconds") == 0 and not report.covers(place):
            report.add(place, "must be above 0s: no engine answers in no time")


def _check_load(model: Model, objective: Objective, path: Path, report: Report) -> None:
    """Note what keeps the load of a model from being computed."""
    faults: Sequence[Fault] = ()
    try:
        objective.load(model)
    except InputError as error:
        faults = error.faults
    missing = objective.missing(model) if faults or model.windows else []
    for field in missing:
        message = f"{shown(model.name)} needs it for the objective {objective.value}"
        if field == "slo.latency":
            keys = ("slo", "ttft"), ("slo", "tpot"), ("demand", "output_tokens")
            ttft, tpot, tokens = (report.text_of((*path, *key)).partition("].")[2] for key in keys)
            message += f"; give it, or {ttft} and {tpot} together with {tokens}"
        report.add((*path, *field.split(".")), message)
    for fault in () if missing else faults:
        field = fault.path.removeprefix(model.name).lstrip(".")
        report.add((*path, *(field.split(".") if field else ())), fault.message)
