"""Runtimes whose engines of a node start and stop together: the start script, and llama-swap.

The start script ends with the first of its engines that ends. llama-swap reads its configuration
again at a SIGHUP and then stops everything that it started from the old one (llama-swap.go, reload;
August 2026); ``POST /api/models/unload`` stops all before, so that nothing is over its memory.
"""

from collections.abc import Iterable, Sequence
from shlex import quote
from urllib.parse import quote as percent

from kvplace.export.commands import STATIC
from kvplace.export.layout import Engine, Host
from kvplace.export.runbook.addresses import Addresses
from kvplace.export.runbook.book import Action, Book
from kvplace.export.runbook.lines import BEFORE, down_note, restart_title, unknown_in
from kvplace.export.runbook.transition import Transition
from kvplace.export.runbook.units import restarts_by_node

_SHELL = r"""
# Where the start script of a node is kept there, and its logs go.
files=${FILES:-kvplace}

# halt ADDRESS PORT...: end the engines of a node; their script ends with the first of them
halt() {
  local address=$1
  shift
  on "$address" bash -c 'for port; do fuser -s -k -TERM "$port/tcp" || true; done
    for port; do
      left=120
      while fuser -s "$port/tcp"; do
        ((left-- > 0)) || { echo "port $port is still taken" >&2; exit 1; }
        sleep 1
      done
    done' halt "$@"
}

# begin ADDRESS SCRIPT: start a node's engines, and leave them running
begin() {
  put "$2" "$1" "$files/$2"
  on "$1" bash -c 'cd "$1" && mkdir -p logs &&
    LOGS=./logs setsid nohup bash "./$2" >"logs/$2.log" 2>&1 </dev/null &' begin "$files" "$2"
}
"""
_LLAMA_SWAP = r"""
# Where the configuration is on every node, and where llama-swap listens.
config=${CONFIG:-/etc/llama-swap/config.yaml} port=${PORT:-8080}

# reload ADDRESS FILE: stop all engines of a node, then let llama-swap read the new configuration
reload() {
  run curl -fsS -o /dev/null -X POST "http://$1:$port/api/models/unload"
  put "$2" "$1" "$config"
  on "$1" pkill -HUP -x llama-swap
}

# awake ADDRESS PATH: ask for a model, which starts it, until it answers
awake() {
  run curl -fsS -o /dev/null --retry "${START_SECONDS:-1800}" --retry-delay 1 \
    --retry-max-time "${START_SECONDS:-1800}" --retry-all-errors \
    --max-time "${START_SECONDS:-1800}" "http://$1:$port/upstream/$2/health"
}
"""


def shell_book(transition: Transition, addresses: Addresses, pool: str = STATIC) -> Book:
    """Return what the start scripts make of a proposal."""
    restarts = restarts_by_node(transition, parts=pool == STATIC)
    actions = []
    for restart in restarts:
        host = restart.unit.host
        where = quote(addresses.of_node(host.node.name))
        old = [r for unit in restart.replaced for r in unit.running]
        again = _engines_before(transition, host) if old else ()
        lines = _exchange(
            where, [r.port for r in old], f"start-{host.label}.sh", restart.unit.engines
        )
        back = _exchange(
            where, [e.port for e in restart.unit.engines], f"{BEFORE}start-{host.label}.sh", again
        )
        new_routes = [(e.model.name, e.port) for e in restart.unit.engines]
        old_routes = [(r.part.model, r.port) for r in old]
        lines += _routes(addresses, host, new_routes, old_routes)
        back += _routes(addresses, host, old_routes, new_routes)
        back = [*unknown_in(restart, transition), *back]
        actions.append(Action(restart_title(restart), tuple(lines), tuple(back)))
    notes = (
        "the engines of a node start and stop together: its script ends with the first that ends",
        *down_note(restarts),
    )
    return Book(tuple(actions), {}, ("route", "await", "on"), _SHELL, notes)


def llama_swap_book(transition: Transition, addresses: Addresses) -> Book:
    """Return what llama-swap makes of a proposal."""
    restarts = restarts_by_node(transition, parts=True)
    actions = []
    for restart in restarts:
        host = restart.unit.host
        where = addresses.of_node(host.node.name)
        again = _engines_before(transition, host) if restart.replaced else ()
        lines = _reload(where, f"llama-swap-{host.label}.yaml", restart.unit.engines)
        back = _reload(where, f"{BEFORE}llama-swap-{host.label}.yaml", again)
        back = [*unknown_in(restart, transition), *back]
        actions.append(Action(restart_title(restart), tuple(lines), tuple(back)))
    notes = (
        "a new configuration stops all engines of its node, and starts those that it names",
        *down_note(restarts),
    )
    return Book(tuple(actions), {}, ("on",), _LLAMA_SWAP, notes)


def _engines_before(transition: Transition, host: Host) -> tuple[Engine, ...]:
    """Return the engines of a node as they ran."""
    return next((h.engines for h in transition.before.hosts if h.label == host.label), ())


def _exchange(
    where: str, ports: Iterable[int], script: str, engines: Sequence[Engine]
) -> list[str]:
    """Return the commands that end the engines of some ports and start those of a script."""
    stopped = " ".join(map(str, ports))
    lines = [f"halt {where} {stopped}"] if stopped else []
    if engines:
        lines.append(f"begin {where} {script}")
        lines += [f"await {where} {engine.port}" for engine in engines]
    return lines


def _routes(
    addresses: Addresses,
    host: Host,
    come: Sequence[tuple[str, int]],
    gone: Sequence[tuple[str, int]],
) -> list[str]:
    """Return calls of the router hook for models and ports of a node that come and go."""
    at = f"http://{addresses.of_node(host.node.name)}"
    lines = [f"route add {quote(name)} {quote(f'{at}:{port}')}" for name, port in come]
    lines += [
        f"route remove {quote(name)} {quote(f'{at}:{port}')}"
        for name, port in gone
        if (name, port) not in come
    ]
    return lines


def _reload(where: str, file: str, engines: Sequence[Engine]) -> list[str]:
    """Return the commands that give a node another configuration and start what it names."""
    if not engines:
        unload = quote(f"http://{where}")
        return [f'run curl -fsS -o /dev/null -X POST {unload}":$port/api/models/unload"']
    lines = [f"reload {quote(where)} {file}"]
    lines += [
        f"awake {quote(where)} {quote(percent(engine.served_name, safe='/'))}" for engine in engines
    ]
    return lines
