"""Fields of a ``config.json``: the text part of it, by any of the names in use."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kvplace.errors import Fault, InputError

_TEXT_PARTS = ("text_config", "llm_config", "language_config", "language_model_config", "thinker")
_WRAPPERS = ("thinker_config",)

_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_LISTS = ("layer_types", "layers_block_type", "hybrid_override_pattern")
"""Fields with one entry per layer: they give the number of layers where no field does."""

_MOST_LAYERS = 10_000
_LARGEST = 2**40
"""No field of a config that counts something is larger, so products stay exact and printable."""
_ATTENTIONS_PER_LAYER = {"longcat_flash": 2}  # LongCat-Flash, section 2: two blocks of MLA a layer

_CLASS_DEFAULTS: dict[str, dict[str, Any]] = {
    # Published configs of this class leave out what equals the class defaults of the
    # transformers library (Gemma3TextConfig), so a missing field has a known value.
    "gemma3_text": {
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "num_hidden_layers": 26,
        "sliding_window": 4096,
    },
    # Same (GemmaConfig, Gemma2Config), as in PaliGemma: heads are no part of the hidden size.
    "gemma": {"head_dim": 256},
    "gemma2": {"head_dim": 256, "sliding_window": 4096},
    # Same (Gemma4TextConfig): what `per_layer_config` does not say.
    "gemma4_text": {"global_head_dim": 512, "sliding_window": 512},
}


@dataclass(slots=True)
class Fields:
    """Typed access to a parsed config; collects faults and what was used.

    Parameters
    ----------
    values
        The text part of the config.
    prefix
        Path of that part in the file, such as ``text_config.``.
    outer
        The whole config: its dtype and quantization hold for the text part too.
    """

    values: Mapping[str, Any]
    prefix: str = ""
    outer: Mapping[str, Any] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    own: frozenset[str] = frozenset()
    """Names that the config states for this layer alone."""

    @property
    def model_type(self) -> str:
        """The ``model_type`` of the text part, empty where it is missing."""
        return str(self.values.get("model_type") or self.outer.get("model_type") or "")

    def get(self, *names: str) -> Any:
        """Return the first of the fields that is there and not null, else None."""
        self.used.update(names)
        defaults = _CLASS_DEFAULTS.get(self.model_type, {})
        for source in (self.values, defaults):
            for name in names:
                if source.get(name) is not None:
                    return source[name]
        return None

    def whole(self, *names: str, default: int | None = None) -> int | None:
        """Return a field that must be a whole number of at least 0, or `default`."""
        value = self.get(*names)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            self.fault(names[0], f"{value!r} must be a whole number of at least 0")
            return default
        if value > _LARGEST:
            self.fault(names[0], f"it is more than {_LARGEST:,}")
            return default
        return value

    def need(self, *names: str) -> int:
        """Return a whole number that must be there; records a fault and returns 1 if it is not."""
        value = self.whole(*names)
        if value is None:
            if not any(f.path == self.prefix + names[0] for f in self.faults):
                others = f" (also looked for {', '.join(names[1:])})" if names[1:] else ""
                self.fault(names[0], f"the file does not give it{others}")
            return 1
        return value

    def sequence(self, name: str) -> Sequence[Any] | None:
        """Return a field that must be a list, or None."""
        value = self.get(name)
        if value is not None and not isinstance(value, list):
            self.fault(name, f"{value!r} must be a list")
            return None
        return value

    def integers(self, name: str) -> Sequence[int] | None:
        """Return a field that must be a list of whole numbers of at least 0, or None."""
        value = self.sequence(name)
        if value is None:
            return None
        if not all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in value):
            self.fault(name, "it must be a list of whole numbers of at least 0")
            return None
        return value

    def mapping(self, name: str) -> Mapping[str, Any]:
        """Return a field that must be a mapping; empty where it is missing."""
        value = self.get(name)
        if value is not None and not isinstance(value, dict):
            self.fault(name, f"{value!r} must be a mapping")
            return {}
        return value or {}

    def at(self, own: Mapping[str, Any]) -> "Fields":
        """Return the fields of a layer that the config states some of for this layer alone."""
        if not own:
            return self
        values = {**self.values, **own}
        return Fields(values, self.prefix, self.outer, self.faults, self.used, frozenset(own))

    def fault(self, name: str, message: str) -> None:
        """Record that a field is wrong."""
        self.faults.append(Fault(message, self.prefix + name))

    def check(self, source: str) -> None:
        """Raise `InputError` with every fault recorded so far, if any."""
        if self.faults:
            raise InputError(self.faults, source)

    @property
    def layers(self) -> int:
        """Number of layers that may attend: stated, or as many as a list of layers has."""
        if self.get(*_LAYERS) is None:
            for name in _LISTS:
                listed = self.values.get(name)
                if isinstance(listed, (list, str)) and 0 < len(listed) <= _MOST_LAYERS:
                    return len(listed) * _ATTENTIONS_PER_LAYER.get(self.model_type, 1)
        stated = self.get(*_LAYERS)
        layers = stated if type(stated) is int and stated > _LARGEST else self.need(*_LAYERS)
        if layers > _MOST_LAYERS:
            self.fault(_LAYERS[0], f"it is more than {_MOST_LAYERS:,}")
            return 1
        return layers * _ATTENTIONS_PER_LAYER.get(self.model_type, 1)


def text_fields(config: Mapping[str, Any], source: str) -> Fields:
    """Return the part of a config that describes the language model.

    Parameters
    ----------
    config
        The parsed ``config.json``.
    source
        Its name, for messages.

    Raises
    ------
    InputError
        It describes an encoder-decoder, whose cache depends on both lengths, or no LLM.
    """
    if "_class_name" in config or "_diffusers_version" in config:
        raise InputError("it is a part of an image or video pipeline of diffusers, no LLM", source)
    if config.get("is_encoder_decoder") or (
        "encoder_layers" in config and "decoder_layers" in config
    ):
        raise InputError(
            "it is an encoder-decoder; its cross-attention cache depends on the input's length "
            "and is not one figure per token",
            source,
        )
    for wrapper in _WRAPPERS:
        inner = config.get(wrapper)
        if isinstance(inner, dict):
            found = text_fields(inner, source)
            return Fields(found.values, f"{wrapper}.{found.prefix}", config)
    for part in _TEXT_PARTS:
        inner = config.get(part)
        if isinstance(inner, dict):
            return Fields(inner, f"{part}.", config)
    return Fields(config, "", config)
