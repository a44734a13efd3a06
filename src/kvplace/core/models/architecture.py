"""Architecture: the shape of a model, as far as memory and time depend on it."""

import math
from dataclasses import dataclass
from enum import StrEnum

from kvplace.errors import Fault, InputError
from kvplace.field_types import hold_types

_MOST, _PARAMETERS = 10**6, 10**15
"""Most of any size and number of parts, and of parameters, far above those of models: what is
computed of several is finite, and bytes are below 2**63."""


class Format(StrEnum):
    """The number format in which a GPU multiplies the weights.

    Weights that are only stored in fewer bits (INT4, MXFP4 before Blackwell) are multiplied in
    ``bf16``.
    """

    BF16 = "bf16"
    FP8 = "fp8"
    FP4 = "fp4"


@dataclass(frozen=True, slots=True)
class Architecture:
    """The shape of a model.

    Parameters
    ----------
    layers
        Decoder layers; a block that only mixes tokens or only has a perceptron is half of one.
    hidden_size
        Width of the residual stream.
    parameters
        All parameters of the language model, embeddings included.
    active_parameters
        Parameters that one token is multiplied with: all but the input embedding and the
        experts that it is not sent to.
    vocabulary_size
        Tokens of the vocabulary; 0 where there is no language-model head.
    heads, head_size
        Query heads of a layer, and their width (of query and key).
    kv_heads
        KV heads of a layer; 1 for the latent vector of multi-head latent attention.
    attention_layers
        Layers that attend to all earlier tokens; None for all layers.
    state_layers
        Layers that keep a recurrent state in place of a cache.
    latent, indexed
        Whether attention caches one latent vector (multi-head latent attention), and whether
        an indexer chooses the tokens that it attends to (sparse attention).
    intermediate_size
        Width of the widest multi-layer perceptron that every token goes through.
    experts, experts_per_token
        Routed experts of a layer and how many a token is sent to; 0 for a dense model.
    expert_parameters
        Parameters of all routed experts of all layers together.
    expert_intermediate_size
        Width of one routed expert.
    embedding_parameters
        Parameters of the input embedding; 0 where the head shares them.
    other_parameters
        Parameters beside the language model, such as a vision tower.
    weight_bits
        Bits in which a parameter of a linear layer is stored, scales included.
    expert_bits
        The same for routed experts; None for the same as `weight_bits`.
    weight_format, expert_format
        The number format in which they are multiplied where the GPU can.

    Raises
    ------
    InputError
        A number is negative, not finite, or contradicts another.
    """

    layers: int
    hidden_size: int
    parameters: int
    active_parameters: int
    vocabulary_size: int = 0
    heads: int = 0
    head_size: int = 0
    kv_heads: int = 0
    attention_layers: int | None = None
    state_layers: int = 0
    latent: bool = False
    indexed: bool = False
    intermediate_size: int = 0
    experts: int = 0
    experts_per_token: int = 0
    expert_parameters: int = 0
    expert_intermediate_size: int = 0
    embedding_parameters: int = 0
    other_parameters: int = 0
    weight_bits: float = 16.0
    expert_bits: float | None = None
    weight_format: Format = Format.BF16
    expert_format: Format | None = None

    def __post_init__(self) -> None:
        hold_types(self)
        numbers = {
            name: value
            for name in self.__dataclass_fields__
            if isinstance(value := getattr(self, name), int | float) and not isinstance(value, bool)
        }
        faults = [
            Fault(f"{value!r} must be a finite number of at least 0", name)
            for name, value in numbers.items()
            if not 0 <= value < math.inf
        ]
        most = {name: _PARAMETERS if name.endswith("parameters") else _MOST for name in numbers}
        faults += [
            Fault(f"it must be at most {most[name]:,}", name)
            for name, value in numbers.items()
            if most[name] < value < math.inf
        ]
        faults += [
            Fault("it must be at least 1", name)
            for name in ("layers", "hidden_size", "parameters", "weight_bits")
            if not faults and numbers[name] < 1
        ]
        if not faults:
            if self.experts_per_token > self.experts:
                message = f"{self.experts_per_token} of {self.experts} experts per token"
                faults.append(Fault(message, "experts_per_token"))
            if self.expert_parameters > self.parameters:
                message = f"it is more than all {self.parameters} parameters"
                faults.append(Fault(message, "expert_parameters"))
            if self.active_parameters > self.parameters:
                message = f"it is more than all {self.parameters} parameters"
                faults.append(Fault(message, "active_parameters"))
        if faults:
            raise InputError(faults)

    @property
    def dense_parameters(self) -> int:
        """Parameters that every token is multiplied with, whatever experts it is sent to."""
        return max(0, self.active_parameters - self.active_expert_parameters)

    @property
    def active_expert_parameters(self) -> int:
        """Parameters of the routed experts that one token is sent to."""
        if not self.experts:
            return 0
        return self.expert_parameters * self.experts_per_token // self.experts

    @property
    def attending_layers(self) -> int:
        """Layers that attend to all earlier tokens."""
        return self.layers if self.attention_layers is None else self.attention_layers
