"""What an engine process takes of a GPU besides weights and KV cache, in parts.

Activations peak in one of two places. The sampler works on one row of logits in 32 bits for each
sequence of the largest batch, in several copies; the layers work on all tokens of the largest
step. What was measured: 54 start-up logs of vLLM 0.19 on H100 over 34 models
(llm-d-incubation/llm-d-planner, accuracy/accuracy_report.md), Qwen3-14B under five releases (the
same), and the reports cited in ``docs/how-right.md``.
"""

from collections.abc import Iterable
from typing import NamedTuple

from kvplace.core.models.architecture import Architecture
from kvplace.facts.catalogue.gpus import GPUType
from kvplace.units import GIB

_CONTEXT = 0.51
"""GiB that a CUDA process takes before it does anything (H100, vLLM's first memory snapshot)."""
_WORKSPACES = 0.25
"""GiB that libraries grow by in the first pass; 0.24 to 0.27 on H100, 0.05 to 0.39 elsewhere."""
_LINKED, _UNLINKED = 1.9, 0.3
"""GiB of communication buffers from degree 2 up: over NVLink 1.8 to 2.0; over PCIe, without
custom all-reduce, 0.2 to 0.3."""
_SAMPLER_COPIES = {"old": 9.7, "new": 3.7, "sglang": 3.7}
"""Peak of the sampler in copies of the logits. vLLM 0.8 to 0.16: 9.7 (5.64 GiB for Qwen3-14B's
151,936 words and 1,024 sequences); from 0.17 on 3.7 (2.23 GiB)."""
_STREAM_COPIES = 1.3
"""Copies of the residual stream that live beside the sampler's peak."""
_GRAPH_PER_LAYER = 0.0225
"""GiB of captured graphs a layer, with 51 sizes captured twice; 0.5 to 1.85 GiB in all."""
_TOWER = 0.3
"""GiB more where an encoder of images or sound is profiled too (Gemma 3 against Gemma 2)."""
_UNKNOWN, _SMALL, _PER_GIB = 1.5, 12.0, 0.03
"""GiB for a model of unknown shape, weights up to which that holds, and what each GiB adds."""
_UNKNOWN_BYTES, _SMALL_BYTES = round(_UNKNOWN * GIB), round(_SMALL * GIB)


class EngineLimits(NamedTuple):
    """The limits of an engine that its memory depends on.

    Parameters
    ----------
    batched_tokens
        Most tokens of one step (``--max-num-batched-tokens``, SGLang's ``--chunked-prefill-size``).
    sequences
        Most sequences of one step (``--max-num-seqs``).
    """

    batched_tokens: int
    sequences: int


class Overhead(NamedTuple):
    """What an engine process takes of one GPU besides weights and cache, in bytes.

    Parameters
    ----------
    context
        CUDA context and libraries.
    communication
        Buffers between the ranks of a copy.
    activations
        Peak of a step at the engine's limits.
    graphs
        Captured CUDA graphs.
    origin
        How it was obtained, in one line.
    """

    context: int
    communication: int
    activations: int
    graphs: int
    origin: str

    @property
    def total(self) -> int:
        """All of it."""
        return self.context + self.communication + self.activations + self.graphs

    def parts(self) -> dict[str, int]:
        """Return the parts by name."""
        return {
            "context and libraries": self.context,
            "communication": self.communication,
            "activations": self.activations,
            "CUDA graphs": self.graphs,
        }


def engine_limits(gpus: Iterable[GPUType], engine: str = "vllm") -> EngineLimits:
    """Return the limits that an engine takes by default on the least of some GPU types.

    vLLM takes 8,192 tokens and 1,024 sequences on GPUs of 70 GiB or more other than the A100, else
    2,048 and 256 (its ``EngineArgs``, from 0.8 on).
    """
    known = list(gpus)
    large = bool(known) and all(
        gpu.memory_bytes >= 70 * GIB and "A100" not in gpu.name.upper() for gpu in known
    )
    if engine == "sglang":
        return EngineLimits(8192 if large else 4096, 512 if large else 256)
    return EngineLimits(8192, 1024) if large else EngineLimits(2048, 256)


def overhead(
    shape: Architecture,
    degree: int,
    limits: EngineLimits,
    *,
    linked: bool = True,
    engine: str = "vllm",
    release: tuple[int, int] | None = None,
) -> Overhead:
    """Return what an engine takes of each of its GPUs.

    Parameters
    ----------
    shape
        The model.
    degree
        Tensor-parallel degree.
    limits
        The engine's limits.
    linked
        Whether the GPUs of a node share NVLink or the like.
    engine
        ``vllm`` or ``sglang``.
    release
        Major and minor number of its release; None where it is not known, which counts as one
        with the larger sampler.
    """
    copies = _SAMPLER_COPIES["sglang"]
    if engine == "vllm":
        copies = _SAMPLER_COPIES["new" if release and release >= (0, 17) else "old"]
    stream = limits.batched_tokens * shape.hidden_size * 2
    sampler = copies * limits.sequences * shape.vocabulary_size * 4 + _STREAM_COPIES * stream
    wide = 3 * shape.intermediate_size / degree if not shape.experts else 0.0
    layers = limits.batched_tokens * 2 * wide + 4 * stream
    activations = max(sampler, layers) + _expert_workspace(shape, degree, limits)
    if shape.other_parameters:
        activations += _TOWER * GIB
    communication = (_LINKED if linked else _UNLINKED) if degree > 1 else 0.0
    captured = min(limits.sequences, 512) / 512
    graphs = _GRAPH_PER_LAYER * shape.layers * (0.4 + 0.6 * captured)
    if not shape.vocabulary_size:
        graphs = 0.0
    told = f"vLLM {release[0]}.{release[1]}" if release else "a release that is not told"
    told = "SGLang" if engine == "sglang" else told
    return Overhead(
        context=round((_CONTEXT + _WORKSPACES) * GIB),
        communication=round(communication * GIB),
        activations=round(activations),
        graphs=round(graphs * GIB),
        origin=(
            f"estimated for {limits.batched_tokens:,} tokens and {limits.sequences:,} sequences a "
            f"step, {shape.vocabulary_size:,} words, {shape.layers} layers, {told}"
        ),
    )


def _expert_workspace(shape: Architecture, degree: int, limits: EngineLimits) -> float:
    """Return what a fused kernel of experts works in: each token once per expert it is sent to.

    Two buffers of 16 bits: one of the wider of twice the width and the hidden size, and one of the
    width.
    """
    if not shape.experts:
        return 0.0
    width = shape.expert_intermediate_size / degree
    sent = limits.batched_tokens * shape.experts_per_token
    return 2 * sent * (max(2 * width, shape.hidden_size) + width)


def overhead_of_unknown(weights_bytes: int) -> int:
    """Return the overhead of a model of which only the weights on a GPU are known.

    1.5 GiB, the median of small engines in public reports, and 3 % of the weights beyond 12 GiB.
    """
    beyond = weights_bytes - _SMALL_BYTES
    return _UNKNOWN_BYTES + round(_PER_GIB * beyond) if beyond > 0 else _UNKNOWN_BYTES
