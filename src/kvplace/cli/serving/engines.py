"""Options that the verbs share which ask how engines run."""

from typing import TYPE_CHECKING, Any

import click

from kvplace.cli.options import Command, nearest_choice

if TYPE_CHECKING:
    from kvplace.forecast.rules import Rules

__all__ = ["BURST", "LOADS", "SEEDS", "engine_options", "engine_rules", "sharing_option"]

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


LOADS, SEEDS = _Loads(), _Seeds()

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


def engine_options(command: Command) -> Command:
    """Add how engines and their surroundings run."""
    for option in (
        click.option(
            "--pool",
            type=nearest_choice(_POOLS),
            default="elastic",
            show_default=True,
            help="One KV pool for all engines on a GPU, or a fixed part for each.",
        ),
        click.option(
            "--router",
            type=nearest_choice(_ROUTERS),
            default="least-loaded",
            show_default=True,
            help="How requests are divided over the replicas of a model.",
        ),
    ):
        command = option(command)
    return sharing_option(command)


def engine_rules(sharing: str, router: str = "least-loaded", pool: str = "elastic") -> "Rules":
    """Return the rules that the options state."""
    from kvplace.forecast.rules import Pool, Router, Rules, Sharing

    return Rules(Sharing(sharing), Router(router), Pool(pool))
