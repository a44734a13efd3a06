"""Flags of an engine's command: how they are written, and what they say of its memory."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_LENGTH = ("--max-model-len", "--context-length", "--max-total-tokens", "--max-seq-len")
_COUNT = re.compile(r"(\d{1,9})([kKmM]?)", re.ASCII)
_THOUSANDS = {"": 1, "k": 1000, "K": 1024, "m": 1000**2, "M": 1024**2}
_KV_TYPES = {"bfloat16": "bf16", "bf16": "bf16", "fp8": "fp8", "fp8_e4m3": "fp8_e4m3",
             "fp8_e5m2": "fp8_e5m2"}  # fmt: skip
_UNCOUNTED = (
    "--speculative-config", "--speculative-model", "--speculative-draft-model-path",
    "--enable-lora", "--lora-modules", "--lora-paths", "--cpu-offload-gb",
)  # fmt: skip
_AS_LOADED = ("fp8", "bitsandbytes", "torchao", "experts_int8", "w8a8_fp8", "w8a8_int8")
"""Values of ``--quantization`` that change weights as they are loaded."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What a command says of the memory that its engine takes.

    Parameters
    ----------
    engine
        ``vllm`` or ``sglang``; empty for others.
    kv_dtype
        Type of the KV cache; empty where the files of the model decide.
    max_model_len
        Most tokens of a request; 0 where the command does not say.
    uncounted
        What changes the memory and is not followed, as it is written.
    """

    engine: str = ""
    kv_dtype: str = ""
    max_model_len: int = 0
    uncounted: tuple[str, ...] = ()


NOTHING_SAID = Memory()


def memory_of(words: Sequence[str], engine: str) -> Memory:
    """Return what a command says of memory."""
    uncounted = [flag for flag in map(long_flag, words) if flag in _UNCOUNTED]
    cache = flag_value(words, ("--kv-cache-dtype",), {}) or "auto"
    if cache != "auto" and cache not in _KV_TYPES:
        uncounted.append(f"--kv-cache-dtype {cache}")
    quantized = flag_value(words, ("--quantization", "-q"), {})
    if quantized in _AS_LOADED:
        uncounted.append(f"--quantization {quantized}")
    length = _COUNT.fullmatch(flag_value(words, _LENGTH, {}) or "")
    tokens = int(length[1]) * _THOUSANDS[length[2]] if length else 0
    known = engine.casefold() if engine in {"vLLM", "SGLang"} else ""
    return Memory(known, _KV_TYPES.get(cache, ""), tokens, tuple(dict.fromkeys(uncounted)))


def flag_value(
    words: Sequence[str], names: Sequence[str], environment: Mapping[str, str]
) -> str | None:
    """Return the value of the first of the flags, else of the first of the variables."""
    for at, word in enumerate(words):
        flag, mark, value = word.partition("=")
        if not flag.startswith("-") or not any(_is(flag, name) for name in names):
            continue
        if mark:
            return value
        if at + 1 < len(words) and not words[at + 1].startswith("--"):
            return words[at + 1]
    for name in names:
        if name.isupper() and environment.get(name):
            return environment[name]
    return None


_BEGINS = {
    # Unambiguous beginnings that argparse takes, down to the shortest.
    "--tensor-parallel-size": "--te",
    "--pipeline-parallel-size": "--pi",
}


def _is(flag: str, name: str) -> bool:
    """Say whether a flag is one of that name: with underscores, or an unambiguous beginning."""
    flag = long_flag(flag)
    if flag == name:
        return True
    begin = _BEGINS.get(name)
    return begin is not None and flag.startswith(begin) and name.startswith(flag)


def long_flag(flag: str) -> str:
    """Return a long flag with ``-`` for ``_`` and without its value."""
    return flag.partition("=")[0].replace("_", "-") if flag.startswith("--") else flag
