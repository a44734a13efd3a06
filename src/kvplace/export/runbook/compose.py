"""docker compose: each engine is a service that is started and stopped by itself."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from shlex import quote

from kvplace.core.placement import Replica
from kvplace.export.commands import STATIC
from kvplace.export.layout import Engine, Group, Host, Layout
from kvplace.export.runbook.addresses import Addresses
from kvplace.export.runbook.book import Action, Book
from kvplace.export.runbook.deeds import Deed, DeedKind, deeds_of
from kvplace.export.runbook.fixed_parts import with_resizes
from kvplace.export.runbook.lines import (
    BEFORE,
    route_back,
    route_lines,
    sleep_lines,
    sleep_note,
    title_of,
    unknown,
)
from kvplace.export.runbook.transition import Running, Transition
from kvplace.export.runtimes.compose import compose_files

_FUNCTIONS = r"""
# The engines that run are services of this project: docker compose ls shows it.
project=${COMPOSE_PROJECT_NAME:-}

# named: in a dry run without a name, say where it would stand
named() {
  if ((dry)); then project=${project:-COMPOSE_PROJECT_NAME}; fi
  [[ -n $project ]] || fail "set COMPOSE_PROJECT_NAME to the project that runs"
}

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
  named
  at "$1" compose -p "$project" -f "$2" up -d --no-deps "$3"
}

# down ADDRESS SERVICE: stop a service, whatever file it came from
down() {
  named
  local filters=(
    --filter "label=com.docker.compose.project=$project"
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
    book = _Compose(transition, addresses, pool)
    actions = [book.action(number, deed) for number, deed in enumerate(deeds, 1)]
    parts = ("sleep", "route", "await", "drain")
    return Book(tuple(actions), book.files, parts, _FUNCTIONS, tuple(_notes(deeds)))


class _Compose:
    """Makes the commands of deeds one by one, and knows with which file each engine was started."""

    def __init__(self, transition: Transition, addresses: Addresses, pool: str) -> None:
        self.transition, self.addresses, self.pool = transition, addresses, pool
        self.final = {engine.replica: engine for engine in transition.target.engines}
        self.files: dict[str, str] = {}
        self.latest: dict[Replica, str] = {}

    def action(self, number: int, deed: Deed) -> Action:
        """Return what a deed comes to, and what takes it back."""
        lines: list[str] = []
        back: list[str] = []
        if deed.kind in (DeedKind.LOAD, DeedKind.RESIZE):
            for engine in deed.engines:
                forth, again = self._start(number, engine, anew=deed.kind is DeedKind.LOAD)
                lines += forth
                back += again
        elif deed.kind in (DeedKind.SLEEP, DeedKind.WAKE):
            words = ("doze", "rouse") if deed.kind is DeedKind.SLEEP else ("rouse", "doze")
            lines += sleep_lines(deed, self.addresses, words[0])
            back += self._again(deed) if deed.kind is DeedKind.SLEEP else []
            back += sleep_lines(deed, self.addresses, words[1])
        elif deed.kind is DeedKind.UNLOAD:
            lines += [f"down {self._where(r)} {r.label}" for r in deed.running]
            back += [] if deed.slept else self._again(deed)
        else:
            if deed.kind is DeedKind.SWITCH or deed.leads:
                lines += route_lines(deed.engines, deed.running, self.addresses)
                back += route_back(deed, self.addresses)
            if deed.kind is DeedKind.DRAIN:
                lines += [f"drain {self._where(r)} {r.port}" for r in deed.running]
        return Action(title_of(deed), tuple(lines), tuple(back))

    def _where(self, running: Running) -> str:
        return quote(self.addresses.of_node(running.node))

    def _start(self, number: int, engine: Engine, *, anew: bool) -> tuple[list[str], list[str]]:
        """Return the commands that start an engine, or start it again, and those back."""
        host, where = self.addresses.host_of(engine), quote(self.addresses.of(engine))
        name = f"compose-{host.label}.yaml"
        if engine != self.final.get(engine.replica):
            name = f"compose-{host.label}-step-{number}.yaml"
            self.files[name] = _alone(self.transition, host, engine, self.pool)
        if anew:
            return self._up(engine, name), [f"down {where} {engine.label}"]
        drain = f"drain {where} {engine.port}"
        back = [drain, *self._up(engine, self._file(engine))]
        return [drain, *self._up(engine, name)], back

    def _again(self, deed: Deed) -> list[str]:
        """Return the commands that start again what a deed stops."""
        lines: list[str] = []
        for running, engine in zip(deed.running, deed.again, strict=True):
            if engine is None:
                lines.append(unknown(running))
            else:
                lines += self._up(engine, self._file(engine))
        return lines

    def _file(self, engine: Engine) -> str:
        """Return the file with which an engine was started last."""
        before = f"{BEFORE}compose-{self.addresses.host_of(engine).label}.yaml"
        return self.latest.get(engine.replica, before)

    def _up(self, engine: Engine, name: str) -> list[str]:
        where = quote(self.addresses.of(engine))
        self.latest[engine.replica] = name
        return [f"up {where} {quote(name)} {engine.label}", f"await {where} {engine.port}"]


def _alone(transition: Transition, host: Host, engine: Engine, pool: str) -> str:
    """Return a file with one engine only."""
    group = Group(engine.label, (), engine.indices, (engine,))
    layout = Layout(transition.target.problem, (replace(host, groups=(group,)),))
    return compose_files(layout, pool)[f"compose-{host.label}.yaml"]


def _notes(deeds: Sequence[Deed]) -> Iterable[str]:
    yield from sleep_note(deeds)
    again = [engine.label for deed in deeds if deed.kind is DeedKind.RESIZE
             for engine in deed.engines]  # fmt: skip
    if again:
        yield (
            f"fixed parts of the KV memory: {', '.join(again)} start again with another part and "
            "serve nobody meanwhile; with --kv kvcached nothing has to"
        )
