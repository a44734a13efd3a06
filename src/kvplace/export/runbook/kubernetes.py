"""Kubernetes: a Deployment per group of GPUs; its pod is made anew where anything in it changes."""

from kvplace.export.commands import STATIC
from kvplace.export.names import labels
from kvplace.export.runbook.book import Action, Book
from kvplace.export.runbook.deeds import Transition
from kvplace.export.runbook.lines import down_note, restart_title
from kvplace.export.runbook.units import restarts_by_group

__all__ = ["kubernetes_book"]

_FUNCTIONS = r"""
kube() { run kubectl ${NAMESPACE:+-n "$NAMESPACE"} "$@"; }

# ready DEPLOYMENT: wait until all engines of its pod answer
ready() { kube rollout status "deployment/$1" --timeout="${START_SECONDS:-3600}s"; }
"""


def kubernetes_book(transition: Transition, pool: str = STATIC) -> Book:
    """Return what Kubernetes makes of a proposal."""
    restarts = restarts_by_group(transition, parts=pool == STATIC)
    actions = []
    if restarts and transition.target.engines:
        actions.append(Action("state the Services", ("kube apply -f services.yaml",)))
    for restart in restarts:
        label = restart.unit.label
        gone = [u.label for u in restart.replaced if u.label != label or not restart.unit.engines]
        mine = [
            f"kube delete deployment/{other} configmap/{other} --ignore-not-found --wait"
            for other in gone
        ]
        if gone and restart.unit.engines:
            mine += [
                f"kube wait --for=delete pod -l app.kubernetes.io/name={other} --timeout=300s"
                for other in gone
            ]
        if restart.unit.engines:
            mine.append(f"kube apply -f group-{label}.yaml")
            mine.append(f"ready {label}")
        actions.append(Action(restart_title(restart), tuple(mine)))
    wanted = transition.target.problem.index_of
    former = sorted({r.part.model for r in transition.running.values()} - wanted.keys())
    if former:
        label_of = labels([*wanted, *former])
        lines = tuple(f"kube delete service/{label_of[name]} --ignore-not-found" for name in former)
        actions.append(Action("take away the Services of models that are gone", lines))
    notes = (
        "a pod is made anew with all its engines; the old one stops first, since it has the GPUs",
        *down_note(restarts),
    )
    return Book(tuple(actions), {}, (), _FUNCTIONS, notes)
