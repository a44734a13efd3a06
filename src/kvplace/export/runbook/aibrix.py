"""AIBrix: each engine is a ModelClaim on a pool; the gateway follows claims by itself.

An engine sleeps and wakes through the runtime of its pool, at level 1, each operation under an id
of its own and so done once; its claim is not routed to meanwhile (aibrix/runtime/model_runtime_api
.py; a claim's phase ``Sleeping`` in modelclaim_types.go).

A claim is active when its ``status.phase`` says so; deleting it stops its engine
(api/model/v1alpha1/modelclaim_types.go of github.com/vllm-project/aibrix, August 2026).
"""

from shlex import quote
from typing import Any

from kvplace.errors import InputError
from kvplace.export.layout import Engine, Group, Host
from kvplace.export.runbook.book import Action, Book
from kvplace.export.runbook.deeds import DeedKind, deeds_of
from kvplace.export.runbook.lines import BEFORE, title_of, unknown
from kvplace.export.runbook.transition import Transition
from kvplace.export.runtimes.aibrix import claim_of, pool_of
from kvplace.export.text import yaml_text

_FUNCTIONS = r"""
kube() { run kubectl ${NAMESPACE:+-n "$NAMESPACE"} "$@"; }

# active CLAIM: wait until its engine serves
active() {
  kube wait --for=jsonpath='{.status.phase}'=Active --timeout="${START_SECONDS:-1800}s" \
    "modelclaim.model.aibrix.ai/$1"
}

# control sleep|wake POOL MODEL ID: ask the runtime of a pool
control() {
  kube exec "deployment/$2" -- python3 -c "$ask" "$1" "$3" "$4-$(date +%s)"
}
ask='import json, sys, urllib.request
word, model, operation = sys.argv[1:]
body = {"model_name": model, "operation_id": operation} | ({"level": 1} if word == "sleep" else {})
url = "http://127.0.0.1:8080/v1/runtime/models/" + word
head = {"Content-Type": "application/json"}
urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), head), timeout=600)'
"""


def aibrix_book(transition: Transition) -> Book:
    """Return what AIBrix makes of a proposal.

    Raises
    ------
    InputError
        A replica is parked where the plan has no pool.
    """
    actions: list[Action] = []
    files: dict[str, str] = {}
    pools = {group.label: (host, group) for host in transition.target.hosts
             for group in host.groups}  # fmt: skip
    old_pools = {group.label: (host, group) for host in transition.before.hosts
                 for group in host.groups}  # fmt: skip
    begun = {group.label for group in _running_groups(transition, pools)}

    def state(name: str, objects: list[dict[str, Any]]) -> str:
        files[name] = yaml_text(objects, [], many=True)
        return f"kube apply -f {quote(name)}"

    for deed in deeds_of(transition):
        lines: list[str] = []
        back: list[str] = []
        for engine in deed.engines if deed.kind is DeedKind.LOAD else ():
            group = _group(pools, engine)
            back.append(_claim_away(engine.label))
            if group.label not in begun:
                begun.add(group.label)
                alone = [pool_of(*pools[group.label])]
                lines.append(state(f"pool-{group.label}-alone.yaml", alone))
                lines.append(f"kube rollout status deployment/{group.label}")
                back.append(f"kube delete deployment/{group.label} --ignore-not-found --wait")
            lines.append(state(f"claim-{engine.label}.yaml", [claim_of(group, engine)]))
            lines.append(f"active {engine.label}")
        for running, again in zip(deed.running, deed.again, strict=True):
            if deed.kind is DeedKind.UNLOAD:
                lines.append(_claim_away(running.label))
            elif deed.kind not in (DeedKind.SLEEP, DeedKind.WAKE):
                continue
            if again is None:
                back.append(unknown(running))
                continue
            group = _group(old_pools | pools, again)
            there = f"{group.label} {quote(again.model.name)} {transition.proposal.id}"
            doze, rouse = (f"control {word} {there}" for word in ("sleep", "wake"))
            if deed.kind is DeedKind.WAKE:
                lines += [rouse, f"active {running.label}"]
                back.append(doze)
            elif not deed.slept:
                claim = state(f"{BEFORE}claim-{running.label}.yaml", [claim_of(group, again)])
                back += [claim, rouse] if deed.kind is DeedKind.SLEEP else [claim]
                back.append(f"active {running.label}")
                lines += [doze] if deed.kind is DeedKind.SLEEP else []
        if deed.kind in (DeedKind.SWITCH, DeedKind.DRAIN):
            lines.append("say 'the gateway leads requests to active claims by itself'")
        actions.append(Action(title_of(deed), tuple(lines), tuple(back)))
    last = [f"kube apply -f pool-{label}.yaml" for label in sorted(pools)]
    if actions:
        back = [
            state(f"{BEFORE}pool-{label}.yaml", [pool_of(*pools_of)])
            for label, pools_of in sorted(old_pools.items())
        ]
        actions.append(
            Action("state the pools and claims as the plan has them", tuple(last), tuple(back))
        )
    notes = (
        "the gateway leads to every active claim of a model, so both copies serve for a while",
        "deleting a claim stops its engine",
    )
    return Book(tuple(actions), files, (), _FUNCTIONS, notes)


def _claim_away(label: str) -> str:
    return f"kube delete modelclaim.model.aibrix.ai/{label} --ignore-not-found"


def _running_groups(transition: Transition, pools: dict[str, tuple[Host, Group]]) -> list[Group]:
    """Return the pools of the plan that have an engine now, on the same GPUs."""
    held = {gpu for replica in transition.running for gpu in replica.gpus}
    return [group for _, group in pools.values() if held & {gpu.id for gpu in group.gpus}]


def _group(pools: dict[str, tuple[Host, Group]], engine: Engine) -> Group:
    for _, group in pools.values():
        if set(engine.gpus) <= {gpu.id for gpu in group.gpus}:
            return group
    raise InputError(
        f"{engine.model.name!r} is parked on {', '.join(engine.gpus)}, where the plan has no pool; "
        "AIBrix cannot carry that out",
        "proposal",
    )
