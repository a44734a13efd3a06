"""Timing: the share of a GPU's time that shards need, by whoever knows how fast engines are.

The core asks for shares and holds them; it does not compute them.
"""

import abc
from array import array
from collections.abc import Iterable, Iterator, Sequence

from kvplace.core.derived.option_table import OptionTable
from kvplace.core.models.demand import Demand
from kvplace.core.models.model import Model


class Timing(abc.ABC):
    """Says what part of one GPU's time a shard needs to keep its latency objectives."""

    @abc.abstractmethod
    def missing(self, model: Model) -> list[str]:
        """Return the fields that a share needs and a model does not give."""

    @abc.abstractmethod
    def unknown(self, gpu_types: Iterable[str]) -> list[str]:
        """Return those of some GPU types whose speed is not known."""

    @abc.abstractmethod
    def share(self, model: Model, demand: Demand, degree: int, part: float, gpu_type: str) -> float:
        """Return the share of one GPU's time that a shard needs, finite and at least 0.

        Parameters
        ----------
        model
            The model.
        demand
            What is asked of all its copies together in one window.
        degree
            Tensor parallel degree of the copy.
        part
            Part of the demand that the copy carries.
        gpu_type
            The type of its GPUs.
        """

    def shares_in(
        self, model: Model, demands: Sequence[Demand], degree: int, part: float, gpu_type: str
    ) -> list[float]:
        """Return what `share` returns of each of some demands."""
        return [self.share(model, demand, degree, part, gpu_type) for demand in demands]

    @abc.abstractmethod
    def basis(self, models: Sequence[Model]) -> Iterator[object]:
        """Yield per model what its shares rest on besides demand and objectives, for the digest.

        Numbers, text and lists of them, which do not depend on the machine.
        """

    @abc.abstractmethod
    def hardware(self, gpu_types: Sequence[str]) -> list[object]:
        """Return what the shares rest on per GPU type, for the digest."""

    def missing_of(self, models: Sequence[Model]) -> Iterator[tuple[int, str]]:
        """Yield the position of each model with a field that it lacks."""
        for index, model in enumerate(models):
            for field in self.missing(model):
                yield index, field

    def shares(
        self,
        models: Sequence[Model],
        windows: Sequence[str],
        options: OptionTable,
        gpu_types: Sequence[str],
    ) -> "array[float]":
        """Return (rows x types x windows,) what `share` returns of each option.

        Parameters
        ----------
        models
            All models.
        windows
            Names of the windows.
        options
            Their options.
        gpu_types
            The types, in order.
        """
        found = array("d")
        for index, model in enumerate(models):
            demands = [model.demand_in(window) for window in windows]
            for row in range(options.starts[index], options.starts[index + 1]):
                degree, part = options.degrees[row], 1 / options.copies[row]
                for gpu_type in gpu_types:
                    found.extend(self.shares_in(model, demands, degree, part, gpu_type))
        return found
