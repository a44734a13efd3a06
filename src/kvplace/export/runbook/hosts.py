"""Runtimes whose engines of a node start and stop together: the start script, and llama-swap.

The start script ends with the first of its engines that ends. llama-swap reads its configuration
again at a SIGHUP and then stops everything that it started from the old one (llama-swap.go, reload;
August 2026); ``POST /api/models/unload`` stops all before, so that nothing is over its memory.
"""

from shlex import quote
from urllib.parse import quote as percent

from kvplace.export.commands import STATIC
from kvplace.export.runbook.addresses import Addresses
from kvplace.export.runbook.book import Action, Book
from kvplace.export.runbook.deeds import Transition
from kvplace.export.runbook.lines import down_note, restart_title
from kvplace.export.runbook.units import restarts_by_node

__all__ = ["llama_swap_book", "shell_book"]

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
        where = quote(addresses.of_node(restart.unit.host.node.name))
        ports = [str(r.port) for unit in restart.replaced for r in unit.running]
        lines = [f"halt {where} {' '.join(ports)}"] if ports else []
        if restart.unit.engines:
            lines.append(f"begin {where} start-{restart.unit.label}.sh")
            lines += [f"await {where} {engine.port}" for engine in restart.unit.engines]
        lines += [
            f"route add {quote(e.model.name)} {quote(f'http://{addresses.of(e)}:{e.port}')}"
            for e in restart.unit.engines
        ]
        kept = {(e.model.name, e.port) for e in restart.unit.engines}
        lines += [
            f"route remove {quote(r.part.model)} "
            f"{quote(f'http://{addresses.of_node(r.node)}:{r.port}')}"
            for unit in restart.replaced
            for r in unit.running
            if (r.part.model, r.port) not in kept
        ]
        actions.append(Action(restart_title(restart), tuple(lines)))
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
        where = quote(addresses.of_node(restart.unit.host.node.name))
        lines = []
        if restart.unit.engines:
            lines.append(f"reload {where} llama-swap-{restart.unit.label}.yaml")
            lines += [
                f"awake {where} {quote(percent(engine.served_name, safe='/'))}"
                for engine in restart.unit.engines
            ]
        else:
            unload = f"http://{addresses.of_node(restart.unit.host.node.name)}"
            lines.append(
                f'run curl -fsS -o /dev/null -X POST {quote(unload)}":$port/api/models/unload"'
            )
        actions.append(Action(restart_title(restart), tuple(lines)))
    notes = (
        "a new configuration stops all engines of its node, and starts those that it names",
        *down_note(restarts),
    )
    return Book(tuple(actions), {}, ("on",), _LLAMA_SWAP, notes)
