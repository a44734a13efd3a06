"""Options that the verbs share which ask how engines run and how plans are simulated."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from kvplace.cli.options import QUANTILE, RAY, SECONDS, Command, nearest_choice, stacked

if TYPE_CHECKING:
    from kvplace.forecast.rules import Rules
    from kvplace.workers import Workers

_SHARING = ("slice", "mps", "none")
_ROUTERS = ("least-loaded", "round-robin", "prefix-sticky")
_POOLS = ("elastic", "static")
_POINTS = 7
_MOST_POINTS = 200


class _Loads(click.ParamType[tuple[float, ...]]):
    """Factors on the demand: a range such as 0.5..2, or a list."""

    name = "loads"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        if isinstance(value, tuple):
            return value
        text = str(value)
        try:
            numbers = [float(part) for part in text.split(".." if ".." in text else ",")]
        except ValueError:
            numbers = []
        if not numbers or not all(0 < load < float("inf") for load in numbers):
            self.fail(f"{value!r} are no loads; write them like 0.5..2 or 0.5,1,2", param, ctx)
        if len(numbers) > _MOST_POINTS:
            self.fail(f"{len(numbers)} loads are more than {_MOST_POINTS}", param, ctx)
        if ".." not in text:
            return tuple(numbers)
        low, high = numbers[0], numbers[-1]
        if len(numbers) != 2 or low >= high:
            self.fail(f"{value!r} is no range; write it like 0.5..2", param, ctx)
        return tuple(low * (high / low) ** (i / (_POINTS - 1)) for i in range(_POINTS))


class _Burst(click.ParamType[float]):
    """A coefficient of variation."""

    name = "cv"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            found = float(value)
        except ValueError:
            found = -1.0
        if not 0 <= found <= 100:
            self.fail(f"{value!r} is no coefficient of variation; it is from 0 to 100", param, ctx)
        return found


class _Seeds(click.ParamType[tuple[int, ...]]):
    """How many seeds, or which."""

    name = "seeds"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        parts = str(value).split(",")
        if not all(part.isascii() and part.isdecimal() and int(part) < 2**32 for part in parts):
            self.fail(f"{value!r} is no list of seeds such as 0 or 1,2,3", param, ctx)
        return tuple(dict.fromkeys(int(part) for part in parts))


LOADS = _Loads()

BURST = click.option(
    "--burst",
    type=_Burst(),
    default=1.0,
    show_default=True,
    metavar="CV",
    help="Coefficient of variation of the gaps between requests: 1 is Poisson, 3 bursts.",
)


def sharing_option(command: Command) -> Command:
    """Add how engines share the time of a GPU."""
    return click.option(
        "--sharing",
        type=nearest_choice(_SHARING),
        default="slice",
        show_default=True,
        help="How engines on a GPU share its time: in time slices, side by side under MPS, or "
        "without any contention.",
    )(command)


@dataclass(frozen=True, slots=True)
class Play:
    """How plans are simulated, as `play_options` asks for it.

    Parameters
    ----------
    level
        Part of the requests that must keep every objective.
    seconds, burst, seeds
        How long requests come, how their gaps vary, and which seeds they have.
    sharing, router, pool
        How engines share a GPU, requests are divided over replicas, and memory over engines.
    ray
        Address of a Ray cluster that does the work; empty for none.
    """

    level: float
    seconds: float
    burst: float
    seeds: tuple[int, ...]
    sharing: str
    router: str
    pool: str
    ray: str

    def rules(self) -> "Rules":
        """Return the rules of the engines."""
        return engine_rules(self.sharing, self.router, self.pool)

    def workers(self) -> "Workers | None":
        """Return who does the work; None for this process."""
        from kvplace.workers import Workers

        return Workers(ray=self.ray) if self.ray else None


def play_options(seeds: str, what: str) -> Callable[[Command], Command]:
    """Add how plans are simulated; the command gets it as one argument, `play`.

    Parameters
    ----------
    seeds
        Those taken where none are asked for.
    what
        What is said of them.
    """

    def add(command: Command) -> Command:
        @wraps(command)
        def played(*arguments: Any, **options: Any) -> Any:
            asked = {field.name: options.pop(field.name) for field in fields(Play)}
            return command(*arguments, play=Play(**asked), **options)

        return stacked(
            [
                click.option(
                    "--level",
                    type=QUANTILE,
                    default=0.95,
                    show_default=True,
                    metavar="SHARE",
                    help="Part of the requests that must keep every objective (0.95 or 95%).",
                ),
                click.option(
                    "--seconds",
                    type=SECONDS,
                    default=600.0,
                    show_default=True,
                    metavar="SECONDS",
                    help="Time in which requests come (600, 10min). The first tenth is not "
                    "counted.",
                ),
                BURST,
                click.option(
                    "--seeds",
                    "--seed",
                    "seeds",
                    type=_Seeds(),
                    default=seeds,
                    show_default=True,
                    metavar="SEEDS",
                    help=f"Seeds of the requests, apart by commas; {what}.",
                ),
                sharing_option,
                click.option(
                    "--router",
                    type=nearest_choice(_ROUTERS),
                    default="least-loaded",
                    show_default=True,
                    help="How requests are divided over the replicas of a model.",
                ),
                click.option(
                    "--pool",
                    type=nearest_choice(_POOLS),
                    default="elastic",
                    show_default=True,
                    help="One KV pool for all engines on a GPU, or a fixed part for each.",
                ),
                RAY,
            ],
            played,
        )

    return add


def engine_rules(sharing: str, router: str = "least-loaded", pool: str = "elastic") -> "Rules":
    """Return the rules that the options state."""
    from kvplace.forecast.rules import Pool, Router, Rules, Sharing

    return Rules(Sharing(sharing), Router(router), Pool(pool))
