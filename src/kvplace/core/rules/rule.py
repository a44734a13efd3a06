"""What every rule is: whom it concerns, whether it holds, and by how much it does not."""

import abc
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import translate
from typing import ClassVar, NamedTuple

from kvplace.core.hardware import Fleet
from kvplace.core.names import MAX_COUNT
from kvplace.core.placement import Replica
from kvplace.core.rules.context import Context
from kvplace.core.rules.places import EVERYWHERE, Places
from kvplace.errors import InputError
from kvplace.field_types import hold_types


class Breach(NamedTuple):
    """One place where a rule does not hold.

    Parameters
    ----------
    subject
        Name of the model, or the topology domain.
    message
        A sentence with the numbers.
    amount
        How far from holding, at least 1; its sum over all breaches is 0 where the rule holds.
    models
        Names of the models that it takes.
    """

    subject: str
    message: str
    amount: float
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rule(abc.ABC):
    """A demand on where models are.

    Parameters
    ----------
    models
        Names of the models it concerns; ``*`` and ``?`` stand for any letters and any letter.
    soft
        None for a rule that must hold; else its tier, 1 being the weightiest: it is kept where
        a placement is found that keeps it, before the KVPR counts.

    Raises
    ------
    InputError
        No model is named, or the tier is none from 1 to 1,000,000.
    """

    kind: ClassVar[str]
    """The word for it in files."""
    gpu_by_gpu: ClassVar[bool] = False
    """Whether it says of each GPU by itself which models may be there, as `among` does."""
    confines: ClassVar[bool] = False
    """Whether the models run on its places and, where there are none, nowhere."""
    model_by_model: ClassVar[bool] = False
    """Whether it speaks of the copies of each model by themselves."""
    monotone: ClassVar[bool] = True
    """Whether a placement that keeps it keeps it in a larger fleet as well."""
    digested: ClassVar[tuple[str, ...]] = ("models", "soft")
    """Fields that enter the digest, in the order of its text."""

    models: tuple[str, ...] = ("*",)
    soft: int | None = None

    def __post_init__(self) -> None:
        hold_types(self)
        if not self.models:
            raise InputError(f"a rule {self.kind} names no model; '*' stands for all")
        if self.soft is not None and not 1 <= self.soft <= MAX_COUNT:
            raise InputError(f"the tier of a soft rule is 1 to {MAX_COUNT:,}, not {self.soft}")

    @abc.abstractmethod
    def breaches(self, context: Context, copies: dict[str, list[Replica]]) -> Iterator[Breach]:
        """Yield where the rule does not hold.

        Parameters
        ----------
        context
            The fleet and the models.
        copies
            Replicas placed of each model that has any, all on GPUs of the fleet.
        """

    def least(self, context: Context, shards: Mapping[str, int]) -> float:  # noqa: ARG002 - of the interface
        """Return an amount by which every placement breaks the rule, as far as counting tells.

        Parameters
        ----------
        context
            The fleet and the models.
        shards
            Fewest shards that a placement has of each model.
        """
        return 0.0

    def faults(self, context: Context) -> Iterator[str]:
        """Yield a sentence for each thing in the rule that the problem does not have."""
        for pattern in self.models:
            if pattern not in context.index_of and not chosen((pattern,), context.index_of):
                yield f"no model is named {pattern!r}{_meant(pattern, context.index_of)}"

    def concerned(self, names: Iterable[str]) -> list[str]:
        """Return the names of models that the rule concerns, in order."""
        return chosen(self.models, names)

    def among(self, fleet: Fleet, gpus: frozenset[str]) -> frozenset[str]:  # noqa: ARG002 - of the interface
        """Return those of some GPUs of the fleet on which a shard of the models may be."""
        return gpus

    @property
    def named_places(self) -> Places:
        """The GPUs that the rule tells from others by name, node or label."""
        return EVERYWHERE

    @abc.abstractmethod
    def describe(self, models: str, be: str) -> str:
        """Return the rule as a sentence.

        Parameters
        ----------
        models
            The models that it concerns, in words.
        be
            ``is`` or ``are``, whichever goes with them.
        """

    def digest_text(self) -> str:
        """Return what enters the digest of a problem. Plans rest on it: it never changes."""
        fields = (f"{name}={_frozen(getattr(self, name))}" for name in self.digested)
        return f"{self.kind.capitalize()}({', '.join(fields)})"


def chosen(patterns: tuple[str, ...], names: Iterable[str]) -> list[str]:
    """Return the names that match one of some patterns, in order."""
    if "*" in patterns:
        return list(names)
    exact = {p for p in patterns if "*" not in p and "?" not in p}
    wild = [translate(p.replace("[", "[[]")) for p in patterns if p not in exact]
    if not wild:
        return [n for n in names if n in exact]
    match = re.compile("|".join(wild)).match
    return [n for n in names if n in exact or match(n)]


def _frozen(value: object) -> str:
    """Return the text of a field in a digest."""
    if isinstance(value, Places):
        parts = (f"{name}={getattr(value, name)!r}" for name in ("gpus", "nodes", "labels"))
        return f"Places({', '.join(parts)})"
    return repr(value)


def _meant(name: str, known: Iterable[str]) -> str:
    """Return a question for the known name that one may be meant to be; empty for none."""
    from difflib import get_close_matches  # noqa: PLC0415 - only for an error

    near = get_close_matches(name, known, 1)
    return f"; did you mean {near[0]!r}?" if near else ""
