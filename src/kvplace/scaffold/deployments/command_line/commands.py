"""What an engine's command says: which model, and how it is divided over GPUs."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kvplace.scaffold.deployments.command_line.flags import (
    NOTHING_SAID,
    Memory,
    flag_value,
    long_flag,
    memory_of,
)
from kvplace.scaffold.deployments.command_line.shell import engine_words
from kvplace.scaffold.deployments.command_line.variables import unset_in

_TWO_WORDS = re.compile(r"-{1,2}[\w-]+ +\S")
_ELSEWHERE = re.compile(r"[/~$]|\.\.?/|[a-z][a-z0-9+]*://|.*\{\{")
"""A path, a URL of a store or a template in the place of a model's name."""
_NUMBER = re.compile(r"[1-9]\d{0,3}", re.ASCII)
_PROGRAM = re.compile(
    r"(.*/)?(python[\d.]*|uv|(ba|da|z)?sh|env|exec|sleep|tail|ray|torchrun)|.+\.(py|sh)"
)
"""A program, where an image that starts an engine is told to start something else."""


class NotUnderstoodError(Exception):
    """A command that starts an engine in a way that is not understood; the message says which.

    Parameters
    ----------
    message
        Why it is not understood.
    command
        What is understood of it, where all that is missing is which model it serves.
    """

    def __init__(self, message: str, command: "EngineCommand | None" = None) -> None:
        super().__init__(message)
        self.command = command


@dataclass(frozen=True, slots=True)
class _Engine:
    """How to know an engine, and where its command says what.

    Parameters
    ----------
    name
        Its name, for messages.
    words
        Words of a command that start it.
    image
        Names of images whose entrypoint starts it.
    model, tensor, pipeline, data
        Flags, long ones with ``-`` for ``_``, and variables of the environment (in capitals).
    positional
        Whether the first word without a dash is the model, where the image starts the engine.
    serve
        The word after which a model may stand without a flag.
    """

    name: str
    words: str
    image: str
    model: tuple[str, ...]
    tensor: tuple[str, ...] = ("--tensor-parallel-size", "--tp-size", "--tp", "-tp")
    pipeline: tuple[str, ...] = ("--pipeline-parallel-size", "--pp-size", "--pp", "-pp")
    data: tuple[str, ...] = ("--data-parallel-size", "--dp-size", "--dp", "-dp")
    positional: bool = False
    serve: tuple[str, ...] = ()


_ENGINES = (
    _Engine(
        "SGLang",
        r"sglang(\.launch_server|_router\.launch_server)?\b",
        r"sglang",
        ("--model-path", "--model"),
    ),
    _Engine(
        "text-generation-inference",
        r"text-generation-launcher",
        r"text-generation-inference|huggingface-text-generation",
        ("--model-id", "MODEL_ID", "HF_MODEL_ID"),
        tensor=("--num-shard", "NUM_SHARD", "SM_NUM_GPUS"),
        pipeline=(),
        data=(),
    ),
    _Engine(
        "LMDeploy",
        r"lmdeploy\b",
        r"lmdeploy",
        ("--model-path",),
        data=("--dp",),
        serve=("api_server", "api-server"),
    ),
    _Engine(
        "TensorRT-LLM",
        r"trtllm-serve",
        r"tensorrt-llm",
        ("--model",),
        serve=("trtllm-serve", "serve"),
    ),
    _Engine("Aphrodite", r"aphrodite\b", r"aphrodite", ("--model", "--model-name"), serve=("run",)),
    _Engine("Dynamo", r"dynamo\.(vllm|sglang|trtllm)\b", r"(?!)", ("--model", "--model-path")),
    _Engine(
        "vLLM",
        r"vllm(\s+serve|\.entrypoints\S*|\s*$)|api_server\b",
        r"(^|[/_-])vllm([/:@_-]|$)|vllm-openai",
        ("--model",),
        positional=True,
        serve=("serve",),
    ),
)
_ANY = _Engine("engine's", "", "", ("--model", "--model-path", "--model-id"))
_FOREIGN = (
    # Engines whose memory does not follow from a Hugging Face checkpoint and the engine's rules.
    ("llama.cpp", r"llama-server|llama_cpp", r"llama\.?-?cpp|llama-server"),
    ("Ollama", r"\bollama\b", r"ollama/ollama|/ollama[:@]|^ollama"),
    ("NVIDIA NIM", r"\bnim\b", r"nvcr\.io/nim/"),
    ("Triton", r"tritonserver", r"tritonserver"),
    ("TabbyAPI", r"\btabby", r"tabby"),
)
_ENGINE_WORDS = re.compile(
    "|".join([*(e.words for e in _ENGINES), *(words for _, words, _ in _FOREIGN)]), re.MULTILINE
)
_PART_FLAGS = re.compile(r"--is-(prefill|decode)-worker")
_BESIDE = ("router", "gateway", "exporter")  # of an engine's name, but no engine


@dataclass(frozen=True, slots=True)
class EngineCommand:
    """A command that is understood.

    Parameters
    ----------
    model
        Directory, file or hub id.
    tensor
        Tensor parallel degree.
    copies
        Copies within the process group (data parallel), each on its own GPUs.
    served
        Name that requests ask for; empty where the command states none.
    memory
        What it says of the memory that the engine takes.
    """

    model: str
    tensor: int
    copies: int
    served: str = ""
    memory: Memory = NOTHING_SAID

    @property
    def gpus(self) -> int:
        """GPUs that all copies take."""
        return self.tensor * self.copies

    def check(self, seen: int | None, *, paths: bool = False) -> "EngineCommand":
        """Return it, where its GPUs suffice and its model is not a path of elsewhere.

        Parameters
        ----------
        seen
            GPUs that it is given; None where that is not known.
        paths
            Whether its model may be a path.

        Raises
        ------
        NotUnderstoodError
            It uses more GPUs, or its model is a path.
        """
        if seen is not None and seen < self.gpus:
            given = "1 GPU is" if seen == 1 else f"{seen} GPUs are"
            raise NotUnderstoodError(f"{given} given for {self.gpus} ranks")
        if not paths and _ELSEWHERE.match(self.model):
            raise self.elsewhere(f"its model {self.model} is a path or store of where it runs")
        return self

    def of(self, model: str) -> "EngineCommand":
        """Return it with its model by another name."""
        return replace(self, model=model)

    def elsewhere(self, why: str) -> NotUnderstoodError:
        """Return the error of a model that cannot be looked up from here."""
        name = self.model
        return NotUnderstoodError(f"{why}; say which it is with --alias {name}=MODEL", self)


def split_words(value: object) -> list[str]:
    """Return the words of a command: a text to be split, or a list of words as they are.

    The exception are words such as ``--model NAME`` in a list, which people write and mean as two.

    Raises
    ------
    ValueError
        Quotes do not close.
    """
    if isinstance(value, str):
        return shlex.split(value)
    if isinstance(value, list):
        return [
            word
            for item in value
            if isinstance(item, (str, int, float))
            for word in (shlex.split(str(item)) if _TWO_WORDS.match(str(item)) else [str(item)])
        ]
    return []


def read_command(
    words: Sequence[str], image: str, environment: Mapping[str, str], *, gpu: bool
) -> EngineCommand | None:
    """Read the command of a container.

    Parameters
    ----------
    words
        Entrypoint and command.
    image
        Name of the image, whose own entrypoint may start an engine.
    environment
        What the container sets.
    gpu
        Whether it uses GPUs: then it must be understood.

    Returns
    -------
    EngineCommand or None
        None where it starts no engine and uses no GPUs.

    Raises
    ------
    NotUnderstoodError
        It starts an engine, or uses GPUs, in a way that is not understood.
    """
    try:
        words, environment = engine_words(words, environment, _ENGINE_WORDS)
    except ValueError as error:
        raise NotUnderstoodError(f"its command is not understood: {error}") from error
    line = " ".join(words)
    named = _image_name(image)
    engine = next((e for e in _ENGINES if re.search(e.words, line)), None)
    foreign = next((name for name, starts, _ in _FOREIGN if re.search(starts, line)), None)
    by_image = False
    if engine is None and foreign is None:
        foreign = next((name for name, _, at in _FOREIGN if re.search(at, named)), None)
        if foreign is None:
            engine = next((e for e in _ENGINES if re.search(e.image, named)), None)
            by_image = engine is not None
    if engine is not None and any(word in named for word in _BESIDE) and not gpu:
        return None
    if foreign is not None and engine is None:
        if not gpu:
            return None
        raise NotUnderstoodError(f"{foreign} does not say its memory in a way that is read here")
    if engine is None and flag_value(words, _ANY.model, environment) is not None:
        engine = _ANY  # an image of somebody's own, with an engine's flags
    if engine is None:
        if not gpu:
            return None
        raise NotUnderstoodError("its command starts no engine that is known here")
    return _read(engine, list(words), environment, by_image=by_image, gpu=gpu)


def _image_name(image: str) -> str:
    return image.casefold() if isinstance(image, str) else ""


def _read(
    engine: _Engine,
    words: list[str],
    environment: Mapping[str, str],
    *,
    by_image: bool,
    gpu: bool,
) -> EngineCommand | None:
    """Read the command of a known engine."""
    model = flag_value(words, engine.model, environment)
    if model is None:
        model = _bare(words, engine, by_image=by_image)
    if model is None:
        if not gpu:
            return None
        file = flag_value(words, ("--config",), {})
        beside = "" if file is None else f", and --config {file} is not read; name it with --model"
        raise NotUnderstoodError(f"its {engine.name} command names no model{beside}")
    _refuse_unset(model)
    _refuse_split(words, model)
    pipeline = _count(words, engine.pipeline, environment, "pipeline parallel")
    if pipeline > 1:
        raise NotUnderstoodError(
            f"it runs {model} with pipeline parallel {pipeline}, which kvplace does not plan"
        )
    copies = _count(words, engine.data, environment, "data parallel")
    if copies > 1:
        for flag in ("--enable-expert-parallel", "--enable-dp-attention", "--ep-size", "--ep"):
            if flag_value(words, (flag,), environment) is not None or flag in map(long_flag, words):
                raise NotUnderstoodError(
                    f"it runs {model} with data parallel {copies} and {flag}, which divides its "
                    "weights in a way that kvplace does not plan"
                )
    tensor = _count(words, engine.tensor, environment, "tensor parallel")
    served = flag_value(words, ("--served-model-name",), {}) or ""
    served = "" if unset_in(served) else served
    return EngineCommand(model, tensor, copies, served, memory_of(words, engine.name))


def _refuse_split(words: Sequence[str], model: str) -> None:
    """Refuse an engine that does only the prefill or the decode of its requests."""
    mode = flag_value(words, ("--disaggregation-mode",), {})
    half = mode if mode not in (None, "null", "none", "agg") else None
    role = re.search(r"kv_role\W+(kv_producer|kv_consumer)", " ".join(words))
    flag = next((word for word in map(long_flag, words) if _PART_FLAGS.fullmatch(word)), None)
    found = half or (role and role[1]) or flag
    if found:
        raise NotUnderstoodError(
            f"it runs {model} as one part ({found}) of a split into prefill and decode, which "
            "kvplace does not plan"
        )


def _bare(words: Sequence[str], engine: _Engine, *, by_image: bool) -> str | None:
    """Return a model that stands without a flag."""
    for serve in engine.serve:
        if serve in words[:-1]:
            after = words[list(words).index(serve) + 1]
            return None if after.startswith("-") else after
    if by_image and engine.positional and words and not words[0].startswith("-"):
        return None if _PROGRAM.fullmatch(words[0]) else words[0]
    return None


def _count(
    words: Sequence[str], names: Sequence[str], environment: Mapping[str, str], what: str
) -> int:
    """Return a number of ranks, 1 where the command names none."""
    text = flag_value(words, names, environment)
    if text is None:
        return 1
    _refuse_unset(text)
    if not _NUMBER.fullmatch(text.strip()):
        raise NotUnderstoodError(f"{text!r} is no {what} degree")
    return int(text)


def _refuse_unset(text: str) -> None:
    """Refuse a value that rests on a variable without one."""
    name = unset_in(text)
    if name is not None:
        raise NotUnderstoodError(f"the variable {name} has no value; set it, or put it into .env")
