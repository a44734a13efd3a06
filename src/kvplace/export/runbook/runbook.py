"""A proposal as the files of a runtime, with the script that carries it out."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from kvplace.core.result import Result, placed
from kvplace.errors import InputError
from kvplace.export.advice import advice
from kvplace.export.commands import KVCACHED, STATIC
from kvplace.export.export import Export
from kvplace.export.files import EXPORTS, Options
from kvplace.export.layout import lay_out
from kvplace.export.runbook.addresses import Addresses
from kvplace.export.runbook.aibrix import aibrix_book
from kvplace.export.runbook.book import Book, write_book
from kvplace.export.runbook.compose import compose_book
from kvplace.export.runbook.hosts import llama_swap_book, shell_book
from kvplace.export.runbook.kubernetes import kubernetes_book
from kvplace.export.runbook.kvcached import kvcached_book
from kvplace.export.runbook.lines import BEFORE
from kvplace.export.runbook.ray_serve import ray_serve_book
from kvplace.export.runbook.transition import Transition, transition_of
from kvplace.formats.plan.io import write_plan
from kvplace.formats.plan.of_result import plan_of
from kvplace.formats.proposal import Proposal

RUNBOOK = "runbook.sh"
"""Name of the script."""

_BOOKS: dict[str, Callable[[Transition, Addresses, Options], Book]] = {
    "compose": lambda moved, at, options: compose_book(moved, at, options.pool),
    "kubernetes": lambda moved, _, options: kubernetes_book(moved, options.pool),
    "kvcached": lambda moved, at, options: kvcached_book(moved, at, options.venv),
    "aibrix": lambda moved, _at, _options: aibrix_book(moved),
    "ray-serve": lambda moved, _at, _options: ray_serve_book(moved),
    "llama-swap": lambda moved, at, _: llama_swap_book(moved, at),
    "shell": lambda moved, at, options: shell_book(moved, at, options.pool),
}
RUNBOOKS = tuple(_BOOKS)
"""Runtimes that a proposal can be carried out on."""


def runbook(proposal: Proposal, result: Result, to: str, options: Options | None = None) -> Export:
    """Return the files that carry a proposal out on a runtime.

    Parameters
    ----------
    proposal
        What was approved.
    result
        The plan that it leads to, read and evaluated.
    to
        One of `RUNBOOKS`.
    options
        As for an export of the plan.

    Raises
    ------
    InputError
        There is no runbook for the runtime, or it cannot do what the proposal asks.
    """
    if to not in RUNBOOKS:
        raise InputError(f"there is no runbook for {to!r}; known: {', '.join(RUNBOOKS)}")
    options = options or Options()
    target = lay_out(
        result.problem, placed(result), options.base_port, result.kv_parts, result.engine_names
    )
    transition = transition_of(proposal, target)
    addresses = Addresses(transition.hosts, options.addresses)
    dialled = {name: addresses.of_node(name) for name in transition.hosts}
    options = replace(options, kept=result.kv_parts, names=result.engine_names, addresses=dialled)
    files = EXPORTS[to](target, options)
    book = _BOOKS[to](transition, addresses, options)
    head = [
        f"Carries out proposal {proposal.id} of {proposal.created}, {len(book.actions)} steps.",
        "See every command first: ./runbook.sh --dry-run. A second run goes on where one stopped;",
        "./runbook.sh --back takes back what is done, from wherever it is.",
        "Engines that run are taken to be called what kvplace export called them.",
        *_waits(proposal),
    ]
    script = write_book(book, proposal.id, proposal.expires, head)
    files |= {name: text for name, text in _before(transition, to, options) if name in script}
    files |= book.files
    files[RUNBOOK] = script
    files["plan.json"] = write_plan(plan_of(result))
    pool = options.pool if to in ("compose", "shell", "kubernetes") else STATIC
    notes = (*book.notes, *advice(target, to, KVCACHED if to in ("kvcached", "aibrix") else pool))
    return Export(files, len(files), (), tuple(notes))


def _before(transition: Transition, to: str, options: Options) -> Iterator[tuple[str, str]]:
    """Yield the files of what runs, for the way back."""
    if transition.before.engines:
        for name, text in EXPORTS[to](transition.before, options).items():
            yield BEFORE + name, text


def _waits(proposal: Proposal) -> list[str]:
    """Return a sentence for each copy that the proposal stops before it is started elsewhere."""
    return [
        f"{pause.model} serves nobody for about {pause.seconds:.0f} s"
        + ("" if not pause.others else f"; {pause.others} other copies do")
        for pause in proposal.pauses
    ]
