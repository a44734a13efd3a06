"""Kubernetes: a Deployment per group of GPUs; its pod is made anew where anything in it changes."""

from collections.abc import Iterable, Iterator

from kvplace.export.commands import STATIC
from kvplace.export.names import labels
from kvplace.export.runbook.book import Action, Book
from kvplace.export.runbook.lines import BEFORE, down_note, restart_title, unknown_in
from kvplace.export.runbook.transition import Transition
from kvplace.export.runbook.units import Restart, restarts_by_group

_FUNCTIONS = r"""
kube() { run kubectl ${NAMESPACE:+-n "$NAMESPACE"} "$@"; }

# ready DEPLOYMENT: wait until all engines of its pod answer
ready() { kube rollout status "deployment/$1" --timeout="${START_SECONDS:-3600}s"; }
"""


def kubernetes_book(transition: Transition, pool: str = STATIC) -> Book:
    """Return what Kubernetes makes of a proposal."""
    restarts = restarts_by_group(transition, parts=pool == STATIC)
    wanted = transition.target.problem.index_of
    former = sorted({r.part.model for r in transition.running.values()} - wanted.keys())
    label_of = labels([*wanted, *former])
    old_services = f"kube apply -f {BEFORE}services.yaml"
    running = {r.part.model for r in transition.running.values()}
    actions = []
    if restarts and transition.target.engines:
        new = sorted({engine.model.name for engine in transition.target.engines} - running)
        back = [f"kube delete service/{label_of[name]} --ignore-not-found" for name in new]
        back += [old_services] if running else []
        actions.append(Action("state the Services", ("kube apply -f services.yaml",), tuple(back)))
    for restart in restarts:
        back = [*unknown_in(restart, transition), *_back(restart)]
        actions.append(Action(restart_title(restart), tuple(_forth(restart)), tuple(back)))
    if former:
        lines = tuple(f"kube delete service/{label_of[name]} --ignore-not-found" for name in former)
        title = "take away the Services of models that are gone"
        actions.append(Action(title, lines, (old_services,)))
    notes = (
        "a pod is made anew with all its engines; the old one stops first, since it has the GPUs",
        *down_note(restarts),
    )
    return Book(tuple(actions), {}, (), _FUNCTIONS, notes)


def _forth(restart: Restart) -> Iterator[str]:
    """Yield the commands that change a group."""
    label = restart.unit.label
    gone = [u.label for u in restart.replaced if u.label != label or not restart.unit.engines]
    yield from _away(gone, wait=bool(restart.unit.engines))
    if restart.unit.engines:
        yield f"kube apply -f group-{label}.yaml"
        yield f"ready {label}"


def _back(restart: Restart) -> Iterator[str]:
    """Yield the commands that take a change of a group back."""
    old = [unit.label for unit in restart.replaced]
    label = restart.unit.label
    if restart.unit.engines and label not in old:
        yield from _away([label], wait=bool(old))
    yield from (f"kube apply -f {BEFORE}group-{name}.yaml" for name in old)
    yield from (f"ready {name}" for name in old)


def _away(groups: Iterable[str], *, wait: bool) -> Iterator[str]:
    """Yield the commands that take groups away, and wait until their GPUs are free."""
    for label in groups:
        yield f"kube delete deployment/{label} configmap/{label} --ignore-not-found --wait"
    for label in groups if wait else ():
        yield (f"kube wait --for=delete pod -l app.kubernetes.io/name={label} --timeout=300s")
