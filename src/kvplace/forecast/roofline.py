"""From the shape of a model and the data sheet of a GPU to the coefficients of its step times."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kvplace.core.architecture import Architecture, Format
from kvplace.facts.catalogue import GPUType, gpu_types
from kvplace.facts.tables import number, read_tables
from kvplace.forecast.step_time import StepTime

__all__ = [
    "OTHERS",
    "CacheReads",
    "Roofline",
    "Speed",
    "rooflines",
    "speed_of",
    "speed_of_data_sheet",
    "step_time",
]

OTHERS = "any"
"""Name of the row for GPU types that were not fitted."""

_FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Roofline:
    """What of its data sheet a GPU type reaches, fitted to measured kernels.

    Parameters
    ----------
    memory, compute
        Parts of bandwidth and of FLOP/s that reading and multiplying weights reach.
    cache, attention
        Parts that reading the KV cache and the attention of a prefill reach.
    layer_seconds
        What a layer takes in every step besides.
    sharpness
        Exponent of the smooth maximum of reading and multiplying.
    links
        Part of the link's bandwidth that the ranks of a copy reach.
    link_seconds
        What one exchange between ranks takes at least.
    source
        What it was fitted to.
    """

    memory: float
    compute: float
    cache: float
    attention: float
    layer_seconds: float
    sharpness: float
    links: float
    link_seconds: float
    source: str


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a GPU type is: its data sheet and what of it is reached.

    Parameters
    ----------
    gpu_type
        Name in the catalogue.
    bytes_per_second
        Memory bandwidth.
    flops
        Dense FLOP/s by number format; a format that the type lacks is multiplied in ``bf16``.
    link_bytes_per_second
        Link to the other GPUs of its node, in one direction.
    roofline
        What of it is reached.
    """

    gpu_type: str
    bytes_per_second: float
    flops: Mapping[Format, float]
    link_bytes_per_second: float
    roofline: Roofline

    def flops_of(self, number_format: Format) -> float:
        """Return the FLOP/s in a number format."""
        return self.flops.get(number_format) or self.flops[Format.BF16]


@dataclass(frozen=True, slots=True)
class CacheReads:
    """What of the KV cache one rank of a copy reads.

    Parameters
    ----------
    bytes_per_token
        Per cached token, over the layers that keep all tokens.
    window_bytes_per_token, window_tokens
        Per cached token of the layers with a sliding window, and the window.
    bytes_per_sequence
        Fixed state of a sequence.
    """

    bytes_per_token: float
    window_bytes_per_token: float = 0.0
    window_tokens: float = 0.0
    bytes_per_sequence: float = 0.0


def rooflines() -> Mapping[str, Roofline]:
    """Return the fitted constants by GPU type; `OTHERS` stands for all other types.

    Raises
    ------
    InputError
        The user's own ``roofline.csv`` is wrong: every row at once.
    """
    columns = [name.removesuffix("_seconds") for name in Roofline.__slots__]
    needed = [f"{name}_us" if name in ("layer", "link") else name for name in columns]
    return read_tables("roofline.csv", ("name", *needed), _roofline, folder=_FOLDER)


def _roofline(row: Mapping[str, str]) -> Roofline:
    def value(column: str) -> float:
        found = number(row, column)
        assert found is not None
        return found

    return Roofline(
        memory=value("memory"),
        compute=value("compute"),
        cache=value("cache"),
        attention=value("attention"),
        layer_seconds=value("layer_us") * 1e-6,
        sharpness=value("sharpness"),
        links=value("links"),
        link_seconds=value("link_us") * 1e-6,
        source=row["source"],
    )


def speed_of(gpu_type: str) -> Speed | None:
    """Return how fast a GPU type is, or None where the catalogue does not know it.

    Parameters
    ----------
    gpu_type
        Name in the catalogue; upper and lower case are one.
    """
    known = gpu_types()
    kind = known.get(gpu_type)
    if kind is None:
        folded = {name.casefold(): name for name in known}
        name = folded.get(gpu_type.casefold())
        if name is None:
            return None
        kind = known[name]
    return speed_of_data_sheet(kind)


def speed_of_data_sheet(kind: GPUType) -> Speed | None:
    """Return how fast a GPU is by its data sheet, or None where that is not complete."""
    if not kind.bandwidth_gb_per_second or not kind.bf16_tflops:
        return None
    sheet = {
        Format.BF16: kind.bf16_tflops,
        Format.FP8: kind.fp8_tflops,
        Format.FP4: kind.fp4_tflops,
    }
    link = kind.link_gb_per_second or kind.pcie_gb_per_second or _PCIE_GB_PER_SECOND
    fitted = rooflines()
    return Speed(
        kind.name,
        kind.bandwidth_gb_per_second * 1e9,
        {name: tflops * 1e12 for name, tflops in sheet.items() if tflops},
        link * 1e9,
        fitted.get(kind.name) or fitted[OTHERS],
    )


_PCIE_GB_PER_SECOND = 32.0
"""PCIe 4.0 x16 in one direction, where the catalogue does not say."""


def step_time(shape: Architecture, reads: CacheReads, speed: Speed, degree: int = 1) -> StepTime:
    """Return the coefficients of a model on a GPU type.

    Parameters
    ----------
    shape
        The model.
    reads
        What of the cache each rank reads, at that degree.
    speed
        The GPU type.
    degree
        Tensor-parallel degree: each rank reads and multiplies its part of the weights.
    """
    found = speed.roofline
    memory = speed.bytes_per_second * found.memory * degree
    cached = speed.bytes_per_second * found.cache
    dense, routed = shape.dense_parameters, shape.active_expert_parameters
    expert_bits = shape.weight_bits if shape.expert_bits is None else shape.expert_bits
    weight_flops = speed.flops_of(shape.weight_format)
    expert_flops = speed.flops_of(shape.expert_format or shape.weight_format)
    pairs = 4 * shape.attending_layers * shape.heads * shape.head_size
    exchanges = 2 * shape.layers if degree > 1 else 0
    # A ring moves 2 (t - 1) / t of the activations over each link, in 16 bits.
    moved = exchanges * shape.hidden_size * 2 * 2 * (degree - 1) / degree
    return StepTime(
        fixed_seconds=shape.layers * found.layer_seconds + exchanges * found.link_seconds,
        dense_seconds=dense * shape.weight_bits / 8 / memory,
        experts_seconds=shape.expert_parameters * expert_bits / 8 / memory,
        expert_share=shape.experts_per_token / shape.experts if shape.experts else 0.0,
        token_seconds=2 * (dense / weight_flops + routed / expert_flops) / (found.compute * degree),
        kv_token_seconds=reads.bytes_per_token / cached,
        window_token_seconds=reads.window_bytes_per_token / cached,
        window_tokens=reads.window_tokens,
        sequence_seconds=2 * reads.bytes_per_sequence / cached,
        attention_seconds=pairs / (speed.flops_of(Format.BF16) * found.attention * degree),
        link_seconds=moved / (speed.link_bytes_per_second * found.links),
        sharpness=found.sharpness,
    )
