"""Shares of GPU time by a simple law, for tests that need any."""

from dataclasses import dataclass, field

from kvplace.core.timing import Timing


@dataclass(frozen=True)
class PowerTiming(Timing):
    """A share that grows with the rate, less than in proportion, as batches share work.

    ``work / speed x (rate x part) ** exponent / degree ** 0.75``
    """

    works: dict = field(default_factory=dict)
    speeds: dict = field(default_factory=dict)
    exponent: float = 0.75

    def missing(self, model):
        return [] if model.name in self.works else ["work"]

    def unknown(self, gpu_types):
        return [name for name in gpu_types if name not in self.speeds]

    def share(self, model, demand, degree, part, gpu_type):
        rate = demand.requests_per_second * part
        work = self.works[model.name] / self.speeds[gpu_type]
        return work * rate**self.exponent / degree**0.75

    def basis(self, models):
        return (self.works[model.name] for model in models)

    def hardware(self, gpu_types):
        return [self.exponent, [[name, self.speeds[name]] for name in gpu_types]]
