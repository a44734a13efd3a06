"""The step times of every model of a problem on every GPU type, and where they come from."""

from collections.abc import Mapping
from functools import cache, lru_cache
from typing import NamedTuple

from kvplace.core.models.architecture import Architecture
from kvplace.core.models.measured import MeasuredStep
from kvplace.core.models.model import Model
from kvplace.errors import Fault, InputError
from kvplace.facts.catalogue.gpus import GPUType, gpu_types
from kvplace.forecast.step_time import StepTime
from kvplace.forecast.steps.measured import through_measured
from kvplace.forecast.steps.roofline import (
    CacheReads,
    Speed,
    speed_of,
    speed_of_data_sheet,
    step_time,
)

_BYTES_PER_PARAMETER = 2
_LAYERS_OF_8B = 32


class Timed(NamedTuple):
    """Step times with their source.

    Parameters
    ----------
    times
        The coefficients.
    source
        Measured, computed or estimated, and from what.
    doubtful
        Whether it rests on more than figures of that model and that GPU type.
    """

    times: StepTime
    source: str
    doubtful: bool = False

    @property
    def row(self) -> tuple[float, ...]:
        """The coefficients in the order of the fields of `StepTime`."""
        return tuple(self.times)


class StepTimes:
    """Step times by model, GPU type and tensor-parallel degree, each made when it is asked for.

    Parameters
    ----------
    measured
        By ``(model, gpu_type)``, or by ``(model, "")`` for every type: what was measured on a
        running engine goes before what is computed.
    architectures
        Shapes by model name, before those that the models state; a model without any is taken as
        dense, in 16 bits, and as large as its weights.
    """

    def __init__(
        self,
        measured: Mapping[tuple[str, str], StepTime] | None = None,
        architectures: Mapping[str, Architecture] | None = None,
    ) -> None:
        self._measured = dict(measured or {})
        self._architectures = dict(architectures or {})
        self._speeds: dict[tuple[str, int], tuple[Speed, str, bool]] = {}
        self._made: dict[tuple[str, str, int, int], Timed] = {}

    def of(self, model: Model, gpu_type: str, memory_bytes: int, degree: int = 1) -> Timed:
        """Return the step times of a model.

        Parameters
        ----------
        model
            What runs.
        gpu_type, memory_bytes
            Where it runs; the memory decides which type a GPU is taken for that the catalogue
            does not know.
        degree
            Tensor-parallel degree.

        Raises
        ------
        InputError
            The model has no KV bytes per token.
        """
        key = (model.name, gpu_type, memory_bytes, degree)
        if key not in self._made:
            self._made[key] = self._make(*key, model)
        return self._made[key]

    def _make(self, name: str, gpu_type: str, memory: int, degree: int, model: Model) -> Timed:
        for known in ((name, gpu_type), (name, "")):
            if known in self._measured:
                return Timed(self._measured[known], "measured")
        if model.kv_bytes_per_token is None:
            message = "its step times need the KV bytes per token"
            raise InputError([Fault(message, f"{name}.kv_bytes_per_token")])
        if (gpu_type, memory) not in self._speeds:
            self._speeds[gpu_type, memory] = _speed(gpu_type, memory)
        speed, origin, doubtful = self._speeds[gpu_type, memory]
        reads = cache_reads(model, degree)
        shape = self._architectures.get(name) or model.architecture
        if shape is None:
            shape = dense_shape(model.weights_bytes)
            origin = f"{origin}; estimated from the size of the weights, as dense in 16 bits"
            doubtful = True
        found = known_step_time(shape, reads, gpu_type, degree, model.step_times)
        if found is None:
            computed = step_time(shape, reads, speed, degree)
            found = through_measured(computed, model.step_times, gpu_type, degree)
        times, measured = found
        if measured:
            return Timed(times, "measured steps of the fleet file")
        return Timed(times, origin, doubtful)


@cache
def known_speed(gpu_type: str) -> Speed | None:
    """Return how fast a GPU type of the catalogue is; None for any other."""
    return speed_of(gpu_type)


def cache_reads(model: Model, degree: int) -> CacheReads:
    """Return what of its cache a rank of a model reads.

    Several sliding windows count as one of their mean length, by what is kept of a token in each.
    """
    part = model.kv_part(degree)
    in_windows = sum(window.kv_bytes_per_token for window in model.sliding_windows)
    kept = sum(window.kv_bytes_per_token * window.tokens for window in model.sliding_windows)
    return CacheReads(
        model.unlimited_kv_bytes * part,
        in_windows * part,
        kept / in_windows if in_windows else 0.0,
        model.kv_bytes_per_sequence * part,
    )


@lru_cache(maxsize=100_000)
def known_step_time(
    shape: Architecture,
    reads: CacheReads,
    gpu_type: str,
    degree: int,
    measured: tuple[MeasuredStep, ...],
) -> tuple[StepTime, bool] | None:
    """Return step times on a GPU type of the catalogue, and whether measured ones changed them.

    Parameters
    ----------
    shape
        Of the model.
    reads
        What of its cache a rank reads.
    gpu_type, degree
        Where it runs, and on how many.
    measured
        Steps that were measured of that model.
    """
    speed = known_speed(gpu_type)
    if speed is None:
        return None
    return through_measured(step_time(shape, reads, speed, degree), measured, gpu_type, degree)


def _speed(gpu_type: str, memory_bytes: int) -> tuple[Speed, str, bool]:
    """Return the speed of a GPU type; of one that is not known, that of the nearest in memory."""
    speed = known_speed(gpu_type)
    if speed is not None:
        return speed, f"computed from the data sheet of {speed.gpu_type}", False
    usable = [
        (abs(kind.memory_bytes - memory_bytes), -(kind.bf16_tflops or 0), kind.name, kind)
        for kind in gpu_types().values()
        if speed_of_data_sheet(kind) is not None
    ]
    kind: GPUType = min(usable)[3]
    found = speed_of_data_sheet(kind)
    assert found is not None
    return found, f"GPU type {gpu_type!r} is not in the catalogue: taken for {kind.name}", True


@lru_cache(100_000)  # asked several times of each model
def dense_shape(weights_bytes: int) -> Architecture:
    """Return a dense model of so many bytes in 16 bits, as deep as its size has it.

    Depth and width grow together: layers with the cube root of the size, 32 at 8 billion
    parameters.
    """
    parameters = max(1, weights_bytes // _BYTES_PER_PARAMETER)
    layers = max(4, round(_LAYERS_OF_8B * (parameters / 8e9) ** (1 / 3)))
    hidden = max(64, round((parameters / 12 / layers) ** 0.5))
    return Architecture(
        layers=layers,
        hidden_size=hidden,
        parameters=parameters,
        active_parameters=parameters,
        heads=max(1, hidden // 128),
        head_size=128,
    )
