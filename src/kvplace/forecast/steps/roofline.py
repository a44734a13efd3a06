"""From the shape of a model and the data sheet of a GPU to the coefficients of its step times."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from kvplace.core.models.architecture import Architecture, Format
from kvplace.facts.catalogue.gpus import GPUType, find_gpu_type
from kvplace.facts.catalogue.tables import number, read_tables
from kvplace.forecast.step_time import StepTime

OTHERS = "any"
"""Name of the row for GPU types that were not fitted."""

_FOLDER = Path(__file__).parent


class Roofline(NamedTuple):
    """What of its data sheet a GPU type reaches, fitted to measured engines.

    Parameters
    ----------
    memory, experts
        Parts of the bandwidth that reading weights reaches: those that every token is
        multiplied with, and those of routed experts.
    unpacked
        What is left of that where weights are stored in fewer bits than they are multiplied in.
    compute_bf16, compute_fp8, compute_fp4
        Parts of the FLOP/s that multiplying weights reaches in each number format.
    cache, attention
        Parts of bandwidth and 16-bit FLOP/s that reading the KV cache in a decode step and the
        attention of a prefill reach.
    layer_seconds
        What every layer takes in every step besides: launches, norms, rotations.
    expert_layer_seconds, latent_layer_seconds, indexed_layer_seconds, state_layer_seconds
        What a layer takes more that routes to experts, has latent attention, an indexer, or a
        recurrent state.
    sequence_seconds
        What a sequence takes in every step besides: sampling, its place in the batch.
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
    experts: float
    unpacked: float
    compute_bf16: float
    compute_fp8: float
    compute_fp4: float
    cache: float
    attention: float
    layer_seconds: float
    expert_layer_seconds: float
    latent_layer_seconds: float
    indexed_layer_seconds: float
    state_layer_seconds: float
    sequence_seconds: float
    sharpness: float
    links: float
    link_seconds: float
    source: str

    def compute(self, number_format: Format) -> float:
        """Return the part of the FLOP/s that is reached in a number format."""
        return {
            Format.BF16: self.compute_bf16,
            Format.FP8: self.compute_fp8,
            Format.FP4: self.compute_fp4,
        }[number_format]


class Speed(NamedTuple):
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
        """Return the FLOP/s of the data sheet in a number format."""
        return self.flops[self.multiplied_in(number_format)]

    def multiplied_in(self, number_format: Format) -> Format:
        """Return the format in which such weights are multiplied: 16 bits where it lacks it."""
        return number_format if number_format in self.flops else Format.BF16

    def unpacks(self, bits: float, number_format: Format) -> bool:
        """Whether weights of so many bits are unpacked before they are multiplied."""
        return bits < _PACKED_BITS and self.multiplied_in(number_format) is Format.BF16

    def reached_flops(self, number_format: Format) -> float:
        """Return the FLOP/s that weights of a number format are multiplied at."""
        return self.flops_of(number_format) * self.roofline.compute(
            self.multiplied_in(number_format)
        )


class CacheReads(NamedTuple):
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
    columns = ["name", *map(_column, Roofline._fields)]
    return read_tables("roofline.csv", columns, _roofline, folder=_FOLDER)


def _column(name: str) -> str:
    """Return the column of a constant: seconds are written in microseconds."""
    return f"{name.removesuffix('_seconds')}_us" if name.endswith("_seconds") else name


def _roofline(row: Mapping[str, str]) -> Roofline:
    values: dict[str, float] = {}
    for name in Roofline._fields:
        if name != "source":
            found = number(row, _column(name)) or 0.0
            values[name] = found * 1e-6 if name.endswith("_seconds") else found
    return Roofline(**values, source=row["source"])


def speed_of(gpu_type: str) -> Speed | None:
    """Return how fast a GPU type is, or None where the catalogue does not know it.

    Parameters
    ----------
    gpu_type
        Its name, as `kvplace.facts.catalogue.gpus.find_gpu_type` understands it.
    """
    kind = find_gpu_type(gpu_type)
    if kind is None:
        return None
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


_PACKED_BITS = 15.0
"""Mean bits below which most weights are stored in fewer than 16."""

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
    memory = speed.bytes_per_second * degree
    read_dense, read_experts = memory * found.memory, memory * found.experts
    cached = speed.bytes_per_second * found.cache
    expert_bits = shape.weight_bits if shape.expert_bits is None else shape.expert_bits
    expert_format = shape.expert_format or shape.weight_format
    if speed.unpacks(shape.weight_bits, shape.weight_format):
        read_dense *= found.unpacked
    if speed.unpacks(expert_bits, expert_format):
        read_experts *= found.unpacked
    multiplied = shape.dense_parameters / speed.reached_flops(
        shape.weight_format
    ) + shape.active_expert_parameters / speed.reached_flops(expert_format)
    layer = (
        found.layer_seconds
        + found.expert_layer_seconds * (shape.experts > 0)
        + found.latent_layer_seconds * shape.latent
        + found.indexed_layer_seconds * shape.indexed
    )
    pairs = 4 * shape.attending_layers * shape.heads * shape.head_size
    exchanges = 2 * shape.layers if degree > 1 else 0
    # A ring moves 2 (t - 1) / t of the activations over each link, in 16 bits.
    moved = exchanges * shape.hidden_size * 2 * 2 * (degree - 1) / degree
    return StepTime(
        fixed_seconds=shape.layers * layer
        + shape.state_layers * found.state_layer_seconds
        + exchanges * found.link_seconds,
        dense_seconds=shape.dense_parameters * shape.weight_bits / 8 / read_dense,
        experts_seconds=shape.expert_parameters * expert_bits / 8 / read_experts,
        expert_share=shape.experts_per_token / shape.experts if shape.experts else 0.0,
        token_seconds=2 * multiplied / degree,
        kv_token_seconds=reads.bytes_per_token / cached,
        window_token_seconds=reads.window_bytes_per_token / cached,
        window_tokens=reads.window_tokens,
        sequence_seconds=found.sequence_seconds + reads.bytes_per_sequence / cached,
        attention_seconds=pairs / (speed.flops[Format.BF16] * found.attention * degree),
        link_seconds=moved / (speed.link_bytes_per_second * found.links),
        sharpness=found.sharpness,
    )
