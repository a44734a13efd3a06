"""Tokens of a block of KV cache, as vLLM chooses them.

Blocks have 16 tokens. Kernels for latent vectors want 64 (FlashMLA). In a model with recurrent
layers one pool holds blocks of attention and states alike, so a block of one attention layer grows
until a state of one layer fits into it, in steps of 16 tokens ::

    16 ceil(state bytes / (16 x KV bytes per token))

which gives the 672 tokens of NVIDIA-Nemotron-Nano-9B-v2 (vllm-project/vllm#24280) and the 528 of
Qwen3.5 (vllm-project/vllm#37467).
"""

from kvplace.core.fact import Fact
from kvplace.errors import InputError
from kvplace.facts.cache import CacheLayout

_BLOCK, _LATENT = 16, 64


def block_tokens(layout: CacheLayout, degree: int = 1) -> Fact[int]:
    """Return the tokens of a block.

    Parameters
    ----------
    layout
        What the model caches, with its layers as they are.
    degree
        Tensor-parallel degree, which states and KV heads are divided by.
    """
    kinds = {group.kind for group in layout.groups}
    if "latent" in kinds:
        return Fact(_LATENT, "a block of latent vectors")
    if "state" in kinds and kinds <= {"state", "full"}:
        try:
            states, tokens = (_layer_bytes(layout, kind, degree) for kind in ("state", "full"))
        except InputError:  # a degree that engines refuse
            states = tokens = 0
        blocks = -(-states // (_BLOCK * tokens)) if tokens else 1
        if blocks > 1:
            return Fact(blocks * _BLOCK, "so large that a state of one layer fits into a block")
    return Fact(_BLOCK, "a block of vLLM")


def _layer_bytes(layout: CacheLayout, kind: str, degree: int) -> int:
    """Return what the layer of a kind that holds most takes on each rank; 0 without one."""
    sizes = [g.bytes_per_rank(degree) // g.layers for g in layout.groups if g.kind == kind]
    return max(sizes, default=0)
