"""What a step of a runbook is called, and the lines that several runtimes share."""

from collections.abc import Iterable
from shlex import quote

from kvplace.export.layout import Engine
from kvplace.export.runbook.addresses import Addresses
from kvplace.export.runbook.deeds import Deed, DeedKind
from kvplace.export.runbook.transition import Running, Transition
from kvplace.export.runbook.units import Restart

BEFORE = "before-"
"""What the names of files begin with that state engines as they ran."""


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


def route_back(deed: Deed, addresses: Addresses) -> Iterable[str]:
    """Yield calls of the router hook that take a switch, or a drain, back."""
    for running in deed.running:
        url = f"http://{addresses.of_node(running.node)}:{running.port}"
        yield f"route add {quote(running.part.model)} {quote(url)}"
    for engine in deed.engines:
        url = f"http://{addresses.of(engine)}:{engine.port}"
        yield f"route remove {quote(engine.model.name)} {quote(url)}"


def sleep_lines(deed: Deed, addresses: Addresses, word: str) -> list[str]:
    """Return the commands that let engines sleep (``doze``) or wake them (``rouse``)."""
    lines = []
    for running, again in zip(deed.running, deed.again, strict=True):
        engine = "vllm" if again is None else again.model.launch.engine
        where = quote(addresses.of_node(running.node))
        lines.append(f"{word} {where} {running.port} {engine} {deed.level}")
    return lines


def sleep_note(deeds: Iterable[Deed]) -> Iterable[str]:
    """Yield what engines must have been started with to sleep, if any is to."""
    if any(deed.kind is DeedKind.SLEEP for deed in deeds):
        yield (
            "to sleep, vLLM needs --enable-sleep-mode and VLLM_SERVER_DEV_MODE=1 at its start, "
            "SGLang --enable-memory-saver; level 1 needs room for the weights in the node's memory"
        )


def unknown(running: Running) -> str:
    """Return a line that ends the way back where it is not known how an engine was started."""
    name = quote(f"it is not known how {running.part.model!r} was started: start it by hand, then")
    return f"fail {name}\" take the line 'begun $current' out of $state\""


def unknown_in(restart: Restart, transition: Transition) -> Iterable[str]:
    """Yield such a line for each engine that a restart replaces and that nothing is known of."""
    known = {(e.replica.model, e.gpus) for e in transition.before.engines}
    for unit in restart.replaced:
        for running in unit.running:
            if (running.part.model, running.part.gpus) not in known:
                yield unknown(running)


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
