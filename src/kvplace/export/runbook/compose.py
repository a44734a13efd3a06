"""docker compose: each engine is a service that is started and stopped by itself."""

from collections.abc import Iterable
from dataclasses import replace
from shlex import quote

from kvplace.core.placement import Replica
from kvplace.export.commands import STATIC
from kvplace.export.layout import Engine, Group, Host, Layout
from kvplace.export.runbook.addresses import Addresses
from kvplace.export.runbook.book import Action, Book
from kvplace.export.runbook.deeds import Deed, DeedKind, deeds_of
from kvplace.export.runbook.fixed_parts import with_resizes
from kvplace.export.runbook.lines import BEFORE, route_back, route_lines, title_of, unknown
from kvplace.export.runbook.transition import Transition
from kvplace.export.runtimes.compose import compose_files

__all__ = ["compose_book"]

_FUNCTIONS = r"""
# The engines that run are services of this project: docker compose ls shows it.
project=${COMPOSE_PROJECT_NAME:-}

# at ADDRESS COMMAND...: docker there
at() {
  local address=$1
  shift
  if [[ $address == localhost ]]; then
    run docker "$@"
  else
    run env DOCKER_HOST="ssh://$address" docker "$@"
  fi
}

# up ADDRESS FILE SERVICE: start a service, or start it again where the file changed it
up() {
  at "$1" compose -p "${project:?set COMPOSE_PROJECT_NAME to the project that runs}" -f "$2" \
    up -d --no-deps "$3"
}

# down ADDRESS SERVICE: stop a service, whatever file it came from
down() {
  local filters=(
    --filter "label=com.docker.compose.project=${project:?set COMPOSE_PROJECT_NAME}"
    --filter "label=com.docker.compose.service=$2"
  ) found
  if ((dry)); then
    at "$1" ps -aq "${filters[@]}"
    say "+ docker rm -f what that finds, once it has stopped"
    return
  fi
  found=$(at "$1" ps -aq "${filters[@]}")
  for id in $found; do
    at "$1" stop -t 60 "$id"
    at "$1" rm -f "$id"
  done
}
"""


def compose_book(transition: Transition, addresses: Addresses, pool: str = STATIC) -> Book:
    """Return what compose makes of a proposal.

    Raises
    ------
    InputError
        With fixed parts of the KV memory there is no room for something.
    """
    deeds = deeds_of(transition)
    if pool == STATIC:
        deeds = with_resizes(transition, deeds)
    final = {engine.replica: engine for engine in transition.target.engines}
    files: dict[str, str] = {}
    latest: dict[Replica, str] = {}  # the file that an engine was last started with

    def begin(engine: Engine, name: str) -> list[str]:
        where = quote(addresses.of(engine))
        latest[engine.replica] = name
        return [f"up {where} {quote(name)} {engine.label}", f"await {where} {engine.port}"]

    def drain(engine: Engine) -> str:
        return f"drain {quote(addresses.of(engine))} {engine.port}"

    def before(engine: Engine) -> str:
        label = addresses.host_of(engine).label
        return latest.get(engine.replica, f"{BEFORE}compose-{label}.yaml")

    actions: list[Action] = []
    for number, deed in enumerate(deeds, 1):
        lines: list[str] = []
        back: list[str] = []
        for engine in deed.engines if deed.kind in (DeedKind.LOAD, DeedKind.RESIZE) else ():
            host = addresses.host_of(engine)
            name = f"compose-{host.label}.yaml"
            if engine != final.get(engine.replica):
                name = f"compose-{host.label}-step-{number}.yaml"
                files[name] = _alone(transition, host, engine, pool)
            if deed.kind is DeedKind.RESIZE:
                back += [drain(engine), *begin(engine, before(engine))]
                lines.append(drain(engine))
            else:
                back.append(f"down {quote(addresses.of(engine))} {engine.label}")
            lines += begin(engine, name)
        if deed.kind is DeedKind.SWITCH:
            lines += route_lines(deed.engines, deed.running, addresses)
            back += route_back(deed, addresses)
        elif deed.kind is DeedKind.DRAIN:
            if deed.leads:
                lines += route_lines((), deed.running, addresses)
                back += route_back(deed, addresses)
            lines += [f"drain {quote(addresses.of_node(r.node))} {r.port}" for r in deed.running]
        elif deed.kind is DeedKind.UNLOAD:
            for running, again in zip(deed.running, deed.again, strict=True):
                lines.append(f"down {quote(addresses.of_node(running.node))} {running.label}")
                back += [unknown(running)] if again is None else begin(again, before(again))
        actions.append(Action(title_of(deed), tuple(lines), tuple(back)))
    return Book(
        tuple(actions), files, ("route", "await", "drain"), _FUNCTIONS, tuple(_notes(deeds))
    )


def _alone(transition: Transition, host: Host, engine: Engine, pool: str) -> str:
    """Return a file with one engine only."""
    group = Group(engine.label, (), engine.indices, (engine,))
    layout = Layout(transition.target.problem, (replace(host, groups=(group,)),))
    return compose_files(layout, pool)[f"compose-{host.label}.yaml"]


def _notes(deeds: Iterable[Deed]) -> Iterable[str]:
    again = [engine.label for deed in deeds if deed.kind is DeedKind.RESIZE
             for engine in deed.engines]  # fmt: skip
    if again:
        yield (
            f"fixed parts of the KV memory: {', '.join(again)} start again with another part and "
            "serve nobody meanwhile; with --kv kvcached nothing has to"
        )
