"""What a step of a runbook is called, and the lines that several runtimes share."""

from collections.abc import Iterable
from shlex import quote

from kvplace.export.layout import Engine
from kvplace.export.runbook.addresses import Addresses
from kvplace.export.runbook.deeds import Deed, DeedKind, Running
from kvplace.export.runbook.units import Restart

__all__ = ["down_note", "restart_title", "route_lines", "title_of"]


def title_of(deed: Deed) -> str:
    """Return a phrase that says what a deed does."""
    come = ", ".join(f"{e.model.name} on {' '.join(e.gpus)}" for e in deed.engines)
    gone = ", ".join(f"{r.part.model} on {' '.join(r.part.gpus)}" for r in deed.running)
    if deed.kind is DeedKind.SWITCH:
        return f"switch to {come}" + (f", no longer to {gone}" if gone else "")
    if deed.kind is DeedKind.RESIZE:
        return f"start {come} again with its new part of the KV memory"
    return f"{deed.kind.value} {come or gone}"


def route_lines(
    come: Iterable[Engine], gone: Iterable[Running], addresses: Addresses
) -> Iterable[str]:
    """Yield calls of the operator's router hook: newcomers first, so that nobody is without."""
    for engine in come:
        url = f"http://{addresses.of(engine)}:{engine.port}"
        yield f"route add {quote(engine.model.name)} {quote(url)}"
    for running in gone:
        url = f"http://{addresses.of_node(running.node)}:{running.port}"
        yield f"route remove {quote(running.part.model)} {quote(url)}"


def restart_title(restart: Restart) -> str:
    """Return a phrase that says what a change of a unit does."""
    if not restart.unit.engines:
        title = f"stop all of {restart.unit.label}"
    elif restart.replaced:
        title = f"start all of {restart.unit.label} again as planned"
    else:
        title = f"start all of {restart.unit.label}"
    return title + (f"; meanwhile nobody serves {', '.join(restart.down)}" if restart.down else "")


def down_note(restarts: Iterable[Restart]) -> Iterable[str]:
    """Yield a sentence about the models that are down for a while, if there are any."""
    down = sorted({model for restart in restarts for model in restart.down})
    if down:
        yield f"nobody serves these while their engines start again: {', '.join(down)}"
