"""kvcached: each engine is a tmux session that the controller starts; the router reads a file.

The controller starts what a file names, each in a session ``kvcached-NAME``, and asks a question
where that session is there already (controller/utils.py, ensure_tmux_session); nothing is added to
what it runs otherwise. The router reads its file once (controller/frontend.py): to lead requests
elsewhere it is started again, which cuts those in flight.
"""

from collections.abc import Mapping
from shlex import quote

from kvplace.export.layout import Engine
from kvplace.export.runbook.addresses import Addresses
from kvplace.export.runbook.book import Action, Book
from kvplace.export.runbook.deeds import DeedKind, Running, Transition, deeds_of
from kvplace.export.runbook.lines import title_of
from kvplace.export.runtimes.kvcached import ROUTER_PORT, instance_of
from kvplace.export.text import yaml_text

__all__ = ["kvcached_book"]

_FUNCTIONS = r"""
# Where the controller of kvcached is on every node, its files go, and the router runs.
controller=${CONTROLLER:-kvcached/controller} files=${FILES:-kvplace} router=${ROUTER:-localhost}

# launch ADDRESS FILE SESSION: let the controller start the engine of a file, unless it runs
launch() {
  put "$2" "$1" "$files/$2"
  on "$1" bash -c 'tmux has-session -t "=$1" 2>/dev/null ||
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
    deeds = deeds_of(transition)
    actions: list[Action] = []
    files: dict[str, str] = {}
    served: dict[str, Engine | Running] = {r.label: r for r in transition.running.values()}
    for number, deed in enumerate(deeds, 1):
        lines = []
        for engine in deed.engines:
            if deed.kind is DeedKind.LOAD:
                name = f"engine-{engine.label}.yaml"
                address = addresses.of(engine)
                files[name] = _file([instance_of(engine, address, venv)], address)
                lines.append(f"launch {quote(address)} {quote(name)} kvcached-{engine.label}")
                lines.append(f"await {quote(address)} {engine.port}")
        if deed.kind is DeedKind.SWITCH:
            served |= {engine.label: engine for engine in deed.engines}
        for running in deed.running:
            where = quote(addresses.of_node(running.node))
            if deed.kind is DeedKind.UNLOAD:
                lines.append(f"end {where} kvcached-{running.label}")
            else:
                served.pop(running.label, None)
                if deed.kind is DeedKind.DRAIN:
                    lines.append(f"drain {where} {running.port}")
        routes = _routes(served, addresses)
        if deed.kind is DeedKind.SWITCH or routes != files.get(_latest(files), routes):
            name = f"frontend-step-{number}.yaml"
            files[name] = routes
            lines.insert(0, f"reroute {name} {ROUTER_PORT}")
        actions.append(Action(title_of(deed), tuple(lines)))
    notes = (
        "each switch starts the router again, which cuts requests in flight and takes seconds",
        "the last of them is frontend.yaml in what it routes to",
    )
    return Book(tuple(actions), files, ("await", "drain", "on"), _FUNCTIONS, notes)


def _latest(files: Mapping[str, str]) -> str:
    """Return the name of the router's last file; empty where there is none."""
    return next((name for name in reversed(list(files)) if name.startswith("frontend-")), "")


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
                "name": label,
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
