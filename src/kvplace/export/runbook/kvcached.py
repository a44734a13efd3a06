"""kvcached: each engine is a tmux session that the controller starts; the router reads a file.

The controller starts what a file names, each in a session ``kvcached-NAME``, and asks a question
where that session is there already (controller/utils.py, ensure_tmux_session); nothing is added to
what it runs otherwise. Once an engine has ended, its session stays and waits in bash
(launch_in_tmux), so a session is taken for an engine where its pane runs something else. The router
reads its file once (controller/frontend.py): to lead requests elsewhere it is started again, which
cuts those in flight.
"""

from collections.abc import Mapping
from shlex import quote

from kvplace.export.layout import Engine
from kvplace.export.runbook.addresses import Addresses
from kvplace.export.runbook.book import Action, Book
from kvplace.export.runbook.deeds import DeedKind, deeds_of
from kvplace.export.runbook.lines import BEFORE, sleep_lines, sleep_note, title_of, unknown
from kvplace.export.runbook.transition import Running, Transition
from kvplace.export.runtimes.kvcached import ROUTER_PORT, instance_of, name_of
from kvplace.export.text import yaml_text

_FUNCTIONS = r"""
# Where the controller of kvcached is on every node, its files go, and the router runs.
controller=${CONTROLLER:-kvcached/controller} files=${FILES:-kvplace} router=${ROUTER:-localhost}

# launch ADDRESS FILE SESSION: let the controller start the engine of a file, unless it runs
launch() {
  put "$2" "$1" "$files/$2"
  on "$1" bash -c 'tmux list-panes -s -t "=$1" -F "#{pane_current_command}" 2>/dev/null |
      grep -qvx bash && exit
    tmux kill-session -t "=$1" 2>/dev/null || true
    python3 "$2/launch.py" --config "$3"' launch "$3" "$controller" "$files/$2"
}

# end ADDRESS SESSION: stop an engine
end() {
  on "$1" bash -c 'tmux kill-session -t "=$1" 2>/dev/null || true' end "$2"
}

# reroute FILE: start the router again with another file
reroute() {
  put "$1" "$router" "$files/$1"
  on "$router" bash -c 'tmux kill-session -t "=kvcached-frontend" 2>/dev/null || true
    tmux new-session -d -s kvcached-frontend \
      "exec python3 -u $(printf "%q --config_path %q --port %q" "$1/frontend.py" "$2" "$3")"' \
    reroute "$controller" "$files/$1" "$2"
  await "$router" "$2"
}
"""


def kvcached_book(transition: Transition, addresses: Addresses, venv: str) -> Book:
    """Return what the controllers of kvcached make of a proposal."""
    actions: list[Action] = []
    files: dict[str, str] = {}
    served: dict[str, Engine | Running] = {r.label: r for r in transition.running.values()}
    routed = f"{BEFORE}frontend.yaml"
    files[routed] = _routes(served, addresses)

    def begin(engine: Engine, name: str) -> list[str]:
        address = addresses.of(engine)
        files[name] = _file([instance_of(engine, address, venv)], address)
        return [
            f"launch {quote(address)} {quote(name)} kvcached-{name_of(engine.label)}",
            f"await {quote(address)} {engine.port}",
        ]

    deeds = deeds_of(transition)
    for number, deed in enumerate(deeds, 1):
        lines: list[str] = []
        back: list[str] = []
        for engine in deed.engines if deed.kind is DeedKind.LOAD else ():
            lines += begin(engine, f"engine-{engine.label}.yaml")
            back.append(f"end {quote(addresses.of(engine))} kvcached-{name_of(engine.label)}")
        if deed.kind is DeedKind.SWITCH:
            served |= {engine.label: engine for engine in deed.engines}
        for running, again in zip(deed.running, deed.again, strict=True):
            where = quote(addresses.of_node(running.node))
            if deed.kind is DeedKind.UNLOAD:
                lines.append(f"end {where} kvcached-{name_of(running.label)}")
            if deed.kind in (DeedKind.SLEEP, DeedKind.UNLOAD) and not deed.slept:
                name = f"{BEFORE}engine-{running.label}.yaml"
                back += [unknown(running)] if again is None else begin(again, name)
            if deed.kind in (DeedKind.SWITCH, DeedKind.DRAIN):
                served.pop(running.label, None)
                if deed.kind is DeedKind.DRAIN:
                    lines.append(f"drain {where} {running.port}")
        if deed.kind is DeedKind.SLEEP:
            lines += sleep_lines(deed, addresses, "doze")
            back += sleep_lines(deed, addresses, "rouse")
        elif deed.kind is DeedKind.WAKE:
            lines += sleep_lines(deed, addresses, "rouse")
            back += sleep_lines(deed, addresses, "doze")
        routes = _routes(served, addresses)
        if deed.kind is DeedKind.SWITCH or routes != files[routed]:
            back.append(f"reroute {routed} {ROUTER_PORT}")
            routed = f"frontend-step-{number}.yaml"
            files[routed] = routes
            lines.insert(0, f"reroute {routed} {ROUTER_PORT}")
        actions.append(Action(title_of(deed), tuple(lines), tuple(back)))
    notes = (
        "each switch starts the router again, which cuts requests in flight and takes seconds",
        "the last of them is frontend.yaml in what it routes to",
        *sleep_note(deeds),
    )
    return Book(tuple(actions), files, ("sleep", "await", "drain", "on"), _FUNCTIONS, notes)


def _routes(served: Mapping[str, Engine | Running], addresses: Addresses) -> str:
    """Return the router's file: what serves, under the names that clients use."""
    instances = []
    for label, one in sorted(served.items()):
        if isinstance(one, Engine):
            address, port = addresses.of(one), one.port
        else:
            address, port = addresses.of_node(one.node), one.port
        instances.append(
            {
                "name": name_of(label),
                "model": one.served_name,
                "engine": "vllm",
                "engine_args": [f"--host={address}", f"--port={port}"],
            }
        )
    data = {
        "router": {"enable_router": True, "router_port": ROUTER_PORT, "router_host": "localhost"},
        "instances": instances,
    }
    return yaml_text(data, ["kvcached: what the router leads to; start no engine with this file"])


def _file(instances: list[dict[str, object]], address: str) -> str:
    """Return a controller's file that starts some engines and no router."""
    data = {
        "kvcached": {"kvcached_gpu_utilization": 0.95, "kvcached_log_level": "INFO"},
        "router": {"enable_router": False, "router_port": ROUTER_PORT, "router_host": address},
        "instances": instances,
    }
    return yaml_text(data, ["kvcached controller: one engine of a runbook"])
