"""Weights as an engine holds them on each rank, which is not the file over the degree.

What tensor parallel divides is divided; what it does not divide every rank holds whole: routers,
the projections into latent vectors, and KV heads once there are more ranks than heads. Quantised
experts are padded to the tiles of their kernels. A file in 32 bits is served in 16.
"""

from typing import NamedTuple

from kvplace.core.models.architecture import Architecture, Format

_MXFP4_BITS = 4.25
_HIDDEN_TILE, _WIDTH_TILE = 256, 64
"""vLLM pads the hidden size of MXFP4 experts to 256 and their width on each rank to 64: it loads
gpt-oss-120b in 64.38 GiB (vllm-project/vllm#33155) where the file has 60.7."""
_SPREAD = 1.002
"""Biases, norms, rotary tables and buffers: 0.2 % in 53 public start-up logs of vLLM 0.19
(llm-d-incubation/llm-d-planner, accuracy/accuracy_report.md)."""


class Loaded(NamedTuple):
    """The weights on one rank, in parts.

    Parameters
    ----------
    divided_bytes
        What tensor parallel divides, already divided.
    whole_bytes
        What every rank holds besides.
    origin
        How it was obtained.
    """

    divided_bytes: int
    whole_bytes: int
    origin: str

    @property
    def total_bytes(self) -> int:
        """All weights of one rank."""
        return self.divided_bytes + self.whole_bytes


def loaded_weights(file_bytes: int, shape: Architecture | None, degree: int = 1) -> Loaded:
    """Return what one rank of an engine holds.

    Parameters
    ----------
    file_bytes
        The weights of the checkpoint as they are served: in 16 bits where the file has 32.
    shape
        The model; None where it is not known, then the file is taken to divide evenly.
    degree
        Tensor-parallel degree.
    """
    if shape is None:
        return Loaded(-(-file_bytes // degree), 0, f"file / {degree}" if degree > 1 else "file")
    whole = _whole_bytes(shape, degree)
    padding = _padding_bytes(shape, degree)
    once = whole if degree > 1 else 0
    divided = -(-round((file_bytes - once) * _SPREAD) // degree) + padding
    words = [f"file / {degree}" if degree > 1 else "file", "0.2 % of buffers"]
    if once:
        words.append("what every rank holds whole")
    if padding:
        words.append("padding of MXFP4 experts")
    return Loaded(divided, once, " + ".join(words))


def _whole_bytes(shape: Architecture, degree: int) -> int:
    """Return what every rank holds whole: routers, latent projections, replicated KV heads."""
    bits = shape.weight_bits
    routers = shape.layers * shape.experts * shape.hidden_size
    held = routers * 2.0
    if shape.latent:
        # Queries and the latent vector are projected down to about 2,112 numbers on every rank
        # (DeepSeek-V3: 1,536 + 512 + 64).
        held += shape.layers * shape.hidden_size * 2112 * bits / 8
    elif shape.kv_heads and degree > shape.kv_heads:
        heads = shape.layers * shape.hidden_size * 2 * shape.kv_heads * shape.head_size
        held += heads * bits / 8 / shape.kv_heads  # a whole head on each rank
    return round(held)


def _padding_bytes(shape: Architecture, degree: int) -> int:
    """Return by how much the MXFP4 experts of one rank grow."""
    mxfp4 = shape.expert_bits == _MXFP4_BITS and shape.expert_format is Format.FP4
    width = shape.expert_intermediate_size
    if not mxfp4 or not width:
        return 0
    own = width / degree
    padded = -(-own // _WIDTH_TILE) * _WIDTH_TILE
    hidden = -(-shape.hidden_size // _HIDDEN_TILE) * _HIDDEN_TILE
    growth = padded / own * hidden / shape.hidden_size - 1
    return round(shape.expert_parameters * _MXFP4_BITS / 8 / degree * growth)
