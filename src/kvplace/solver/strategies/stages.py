"""The engine of every strategy: stages in order, each where it can still pay.

A strategy is three ordered lists of stages: those that run once, those that are repeated in rounds
of growing effort, and those that end it. What runs depends on the instance and on counted effort,
never on the clock, so that a run without a time limit gives the same plan everywhere.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from kvplace.core.certificates.certificate import Bound
from kvplace.core.placement import Placement
from kvplace.core.problem import Problem
from kvplace.core.result import OPTIMAL_GAP, StageGain, relative_gap
from kvplace.errors import InputError
from kvplace.field_types import whole_number
from kvplace.solver.clock import Watch
from kvplace.solver.instance.instance import Instance
from kvplace.solver.strategies.params import Params

if TYPE_CHECKING:
    from concurrent.futures import Future

STAGES = (
    "balance",
    "configuration-bound",
    "configurations",
    "domain-cases",
    "domain-filling",
    "domain-program",
    "drop-copies",
    "ejection",
    "enumeration",
    "exact-decisions",
    "exact-packing",
    "gpu-filling",
    "group-cover",
    "iterated-local-search",
    "leximax",
    "pair-exchanges",
    "parallel-exchanges",
    "set-program",
    "start",
)
"""Names of all stages; a stage of one name does the same for every kind of problem."""
LOADING = "loading kernels (compiled once, which takes about a minute)"
"""What a search tells before it imports compiled code."""
NEEDED = ("start",)
"""Stages without which nothing is placed."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a caller asks of a search.

    Parameters
    ----------
    gap
        Certified relative gap at which to stop.
    seed
        Of random choices.
    iterations
        Steps at most; None for the default effort.
    watch
        Clock, interrupt and listener.
    without
        Names of stages to leave out.
    params
        Every knob.

    Raises
    ------
    InputError
        A stage is unknown, nothing can be placed without it, or a number is out of range.
    """

    gap: float = 0.0
    seed: int = 0
    iterations: int | None = None
    watch: Watch = field(default_factory=Watch)
    without: frozenset[str] = frozenset()
    params: Params = field(default_factory=Params)

    def __post_init__(self) -> None:
        if not self.gap >= 0:  # nor a nan
            raise InputError(f"gap must be at least 0, not {self.gap}")
        object.__setattr__(self, "seed", whole_number("seed", self.seed))
        if self.iterations is not None:
            object.__setattr__(self, "iterations", whole_number("iterations", self.iterations))
        known = [name for name in STAGES if name not in NEEDED]
        unknown = sorted(self.without - set(known))
        if unknown:
            raise InputError(
                f"{unknown[0]!r} is no stage that can be left out; choose from {', '.join(known)}"
            )


class Search(ABC):
    """One run: the best found, what is proved, and what each stage brought.

    Parameters
    ----------
    problem
        What is solved.
    settings
        What is asked of the run.

    Attributes
    ----------
    steps
        Exchanges made and perturbations tried.
    round
        Number of the present round, from 0.
    instance
        The problem as numbers.
    limited
        Whether the steps allowed were used up.
    ranks
        How many GPUs, from the worst on, no placement balances better; 0 where only the bound
        says it.
    gains
        What each stage brought so far, by its name.
    certifying
        Seconds that a certificate of the bound may take.
    beside
        What a thread of its own is asked; None for nothing.
    """

    instance: Instance
    beside: "Future[object] | None" = None

    def __init__(self, problem: Problem, settings: Settings) -> None:
        self.problem = problem
        self.settings = settings
        self.params = settings.params
        self.watch = settings.watch
        self.seed = settings.seed
        self.gap = max(settings.gap, OPTIMAL_GAP)
        self.limit = settings.iterations
        self.steps = 0
        self.round = 0
        self.limited = False
        self.ranks = 0
        self.certifying = 0.0
        self.gains: dict[str, StageGain] = {}

    @property
    def asking(self) -> bool:
        """Whether a thread of its own is at work beside the search."""
        return self.beside is not None and not self.beside.done()

    @property
    @abstractmethod
    def value(self) -> float:
        """Max pressure of the best assignment; ``inf`` where there is none that is valid."""

    @property
    @abstractmethod
    def low(self) -> float:
        """What is proved, before it is certified."""

    @property
    @abstractmethod
    def proof(self) -> Bound:
        """What is proved, with its evidence."""

    @property
    @abstractmethod
    def placement(self) -> Placement | None:
        """The best placement; None where there is none that is valid."""

    @property
    @abstractmethod
    def strategy(self) -> "Strategy[Any]":
        """Everything that can pay, in order."""

    @property
    @abstractmethod
    def textbook(self) -> "Strategy[Any]":
        """What a textbook would do: best fit at a bisected target, moves and swaps, balancing."""

    @abstractmethod
    def take_start(self, start: Placement) -> None:
        """Start from a placement as well."""

    @abstractmethod
    def refine(self, start: Placement, tolerance: float, margin: float) -> None:
        """Improve a valid placement by moves and swaps.

        Parameters
        ----------
        start
            Where every model is now.
        tolerance
            Relative gain that a step must exceed.
        margin
            Share of each GPU's memory that a step which takes memory there must leave free.
        """

    def solve(self, start: Placement | None, *, textbook: bool = False) -> None:
        """Do everything that can pay, or what a textbook would, from a placement as well if any."""
        if start is not None:
            self.take_start(start)
        run_strategy(self, self.textbook if textbook else self.strategy)
        self.limited = self.left <= 0 and (textbook or not self.closed)

    @property
    def closed(self) -> bool:
        """Whether the gap is what was asked for."""
        return relative_gap(self.value, self.low) <= self.gap

    @property
    def left(self) -> float:
        """Steps that may still be made."""
        return math.inf if self.limit is None else max(0, self.limit - self.steps)

    def most(self, steps: float) -> int | None:
        """Return a number of steps, or fewer where fewer are left; None for no limit."""
        fewer = min(steps, self.left)
        return None if math.isinf(fewer) else int(fewer)


S = TypeVar("S", bound=Search)


@dataclass(frozen=True, slots=True)
class Beside(Generic[S]):
    """What a thread of its own is asked while a stage runs.

    Parameters
    ----------
    name
        One of `STAGES`.
    begin
        Returns the question, which changes nothing that the stage looks at, so that the result does
        not depend on the clock; what takes the answer once the stage has ended; and what ends the
        question where a search with a time limit has nothing left to prove.
    supports
        Whether it can pay at this point.
    """

    name: str
    begin: Callable[[S], tuple[Callable[[], object], Callable[[], object], Callable[[], object]]]
    supports: Callable[[S], bool]


@dataclass(frozen=True, slots=True)
class Stage(Generic[S]):
    """One step of a strategy.

    Parameters
    ----------
    name
        One of `STAGES`.
    run
        Does it.
    supports
        Whether it can pay for the instance and at this point; None for always.
    closed
        Whether it runs once the gap is closed or the time is up, too.
    steps
        Whether all it does is to make steps, so that it is left out once none is left.
    beside
        What is asked meanwhile; None for nothing.
    """

    name: str
    run: Callable[[S], object]
    supports: Callable[[S], bool] | None = None
    closed: bool = False
    steps: bool = False
    beside: Beside[S] | None = None


@dataclass(frozen=True, slots=True)
class Strategy(Generic[S]):
    """Stages in order.

    Parameters
    ----------
    once, rounds, last
        Stages that run once, that are repeated, and that end it.
    repeats
        Returns how many rounds there are at most.
    idle
        Returns the rounds without a gain after which the rounds end.
    kept
        Returns the part of the time left that rounds leave to the last stages.
    """

    once: Sequence[Stage[S]]
    rounds: Sequence[Stage[S]] = ()
    last: Sequence[Stage[S]] = ()
    repeats: Callable[[S], int] = lambda _: 1
    idle: Callable[[S], float] = lambda _: math.inf
    kept: Callable[[S], float] = lambda _: 0.0


def run_stages(search: S, stages: Sequence[Stage[S]]) -> None:
    """Run those of some stages that can pay, and note what each brought."""
    for stage in stages:
        if stage.name in search.settings.without:
            continue
        if not stage.closed and (search.closed or search.watch.stop):
            continue
        if stage.steps and search.left <= 0:
            continue
        if stage.supports is not None and not stage.supports(search):
            continue
        beside = stage.beside
        if beside is None or beside.name in search.settings.without or not beside.supports(search):
            with _noted(search, stage.name):
                stage.run(search)
        else:
            _run_beside(search, stage, beside)


def _run_beside(search: S, stage: Stage[S], beside: Beside[S]) -> None:
    """Run a stage while a thread is asked something else, and take the answer."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - few searches ask anything

    question, take, end = beside.begin(search)
    with ThreadPoolExecutor(1) as thread:
        search.beside = answer = thread.submit(question)
        with _noted(search, stage.name):
            stage.run(search)
        if search.closed and search.watch.limit < math.inf:
            end()
    answer.result()
    with _noted(search, beside.name):
        take()


@contextmanager
def _noted(search: Search, name: str) -> Iterator[None]:
    """Note what a stage brings."""
    value, low, steps = search.value, search.low, search.steps
    began = search.watch.seconds
    yield
    gain = search.gains.get(name, StageGain(name))
    search.gains[name] = gain.added(
        seconds=search.watch.seconds - began,
        steps=search.steps - steps,
        lowered=_ratio(search.value, value),
        raised=_ratio(search.low, low),
    )


def _ratio(now: float, before: float) -> float:
    """Return by what factor a number changed; 1 where there was none before."""
    known = 0 < before < math.inf and math.isfinite(now)
    return now / before if known else 1.0


def run_strategy(search: S, strategy: Strategy[S]) -> None:
    """Run a strategy: once, in rounds until they bring nothing, and to its end."""
    run_stages(search, strategy.once)
    with search.watch.part(1 - strategy.kept(search)):
        _run_rounds(search, strategy)
    run_stages(search, strategy.last)


def _run_rounds(search: S, strategy: Strategy[S]) -> None:
    """Run the rounds of a strategy until they bring nothing."""
    idle, known = 0, (math.inf, 0.0)
    for number in range(strategy.repeats(search) if strategy.rounds else 0):
        now = (search.value, search.low)
        idle, known = (idle + 1 if now == known else 0), now
        if search.closed or search.watch.stop or idle > strategy.idle(search):
            break
        if number and search.left <= 0:
            break
        search.round = number
        run_stages(search, strategy.rounds)
