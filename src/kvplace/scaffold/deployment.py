"""Models and GPUs of a deployment that exists: a kvcached controller file or a compose file."""

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from kvplace.errors import Fault, InputError

__all__ = ["Deployment", "Instance", "read_deployment"]

_MODEL_FLAGS = ("--model", "--model-path", "--model-id")
_DEGREE_FLAGS = ("--tensor-parallel-size", "-tp", "--tp-size", "--tp", "--num-shard")
_VISIBLE = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
_TWO_WORDS = re.compile(r"-{1,2}[\w-]+ +\S")
_VARIABLE = re.compile(r"\$(\$)|\$\{(\w+)(?::?-([^}]*))?\}|\$(\w+)")


@dataclass(frozen=True, slots=True)
class Instance:
    """One engine process group.

    Parameters
    ----------
    name
        Its name in the deployment.
    model
        Directory or hub id of what it serves.
    degree
        Its tensor parallel degree.
    gpus
        Indices of its GPUs on the host, by rank; None where the file does not tell.
    """

    name: str
    model: str
    degree: int
    gpus: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class Deployment:
    """Everything that one host runs.

    Parameters
    ----------
    kind
        ``kvcached`` or ``compose``.
    instances
        In the order of the file.
    """

    kind: str
    instances: tuple[Instance, ...]

    @property
    def models(self) -> tuple[str, ...]:
        """Models, each once, in the order of the file."""
        return tuple(dict.fromkeys(instance.model for instance in self.instances))


def read_deployment(text: str, source: str) -> Deployment:
    """Read a deployment.

    Parameters
    ----------
    text
        A kvcached controller file (``instances``) or a compose file (``services``).
    source
        Its name, for messages.

    Raises
    ------
    InputError
        It is neither, serves no model, or an instance is not understood: every fault at once.
    """
    try:
        parsed = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else None
        what = getattr(error, "problem", None) or "it is not YAML"
        raise InputError([Fault(str(what), "", line)], source) from error
    faults: list[Fault] = []
    if isinstance(parsed, dict) and isinstance(parsed.get("instances"), list):
        kind, found = "kvcached", _kvcached(parsed["instances"], faults)
    elif isinstance(parsed, dict) and isinstance(parsed.get("services"), dict):
        kind, found = "compose", _compose(parsed["services"], faults)
    else:
        raise InputError(
            "this is neither a kvcached controller file (with 'instances') nor a compose file "
            "(with 'services')",
            source,
        )
    if not found and not faults:
        faults.append(Fault("it serves no model: no command names one with --model"))
    if faults:
        raise InputError(faults, source)
    return Deployment(kind, tuple(found))


def _kvcached(instances: Sequence[Any], faults: list[Fault]) -> list[Instance]:
    """Read the instances of a kvcached controller file."""
    found = []
    for index, entry in enumerate(instances):
        path = f"instances[{index}]"
        if not isinstance(entry, dict) or not isinstance(entry.get("model"), str):
            faults.append(Fault("it must be a mapping with a model", path))
            continue
        arguments = _controller_words(entry.get("engine_args"), path, faults)
        environment = _environment(entry.get("engine_env")) | _environment(
            entry.get("kvcached_env")
        )
        degree = _degree(arguments, path, faults)
        gpus = _visible(environment, degree, path, faults)
        if gpus is None:
            gpus = tuple(range(degree))  # CUDA gives a process the first devices of the host
        found.append(Instance(str(entry.get("name", index)), entry["model"], degree, gpus))
    return found


def _compose(services: Mapping[str, Any], faults: list[Fault]) -> list[Instance]:
    """Read the services of a compose file that serve a model; the others are left out."""
    found = []
    for name, entry in services.items():
        path = f"services.{name}"
        if not isinstance(entry, dict):
            faults.append(Fault("it must be a mapping", path))
            continue
        arguments = _words(entry.get("entrypoint"), path, faults)
        arguments += _words(entry.get("command"), path, faults)
        model = _flag(arguments, _MODEL_FLAGS) or _served(arguments)
        if model is None:
            continue
        degree = _degree(arguments, path, faults)
        environment = _environment(entry.get("environment"))
        gpus = _reserved(entry, degree, path, faults) or _visible(environment, degree, path, faults)
        found.append(Instance(str(name), model, degree, gpus))
    return found


def _controller_words(value: object, path: str, faults: list[Fault]) -> list[str]:
    """Return the words of a kvcached command: texts of one or several words, no variables."""
    items = value if isinstance(value, list) else [value] if isinstance(value, str) else []
    try:
        return [word for item in items for word in shlex.split(str(item))]
    except ValueError as error:
        faults.append(Fault(f"its command is not understood: {error}", path))
    return []


def _words(value: object, path: str, faults: list[Fault]) -> list[str]:
    """Return the words of a compose command: a text to be split, or a list of words as they are.

    The exception are words such as ``--model NAME`` in a list, which people write and mean as two.
    """
    try:
        if isinstance(value, str):
            return [_filled(word, path, faults) for word in shlex.split(value)]
        if isinstance(value, list):
            parts = [
                word
                for item in map(str, value)
                for word in (shlex.split(item) if _TWO_WORDS.match(item) else [item])
            ]
            return [_filled(word, path, faults) for word in parts]
    except ValueError as error:
        faults.append(Fault(f"its command is not understood: {error}", path))
    return []


def _filled(word: str, path: str, faults: list[Fault]) -> str:
    """Put in the values of variables: from the environment, else the default; ``$$`` is ``$``."""

    def value(match: re.Match[str]) -> str:
        if match[1]:
            return "$"
        name = match[2] or match[4]
        found = os.environ.get(name, match[3])
        if found is None:
            faults.append(Fault(f"the variable {name} has no value; set it", path))
        return found or ""

    return _VARIABLE.sub(value, word)


def _flag(arguments: Sequence[str], names: Sequence[str]) -> str | None:
    """Return the value of the first of the flags, written ``--flag value`` or ``--flag=value``."""
    for at, word in enumerate(arguments):
        flag, mark, value = word.partition("=")
        if flag in names:
            if mark:
                return value
            if at + 1 < len(arguments):
                return arguments[at + 1]
    return None


def _served(arguments: Sequence[str]) -> str | None:
    """Return the model of ``vllm serve MODEL``."""
    if "serve" in arguments[:-1]:
        model = arguments[arguments.index("serve") + 1]
        return None if model.startswith("-") else model
    return None


def _degree(arguments: Sequence[str], path: str, faults: list[Fault]) -> int:
    """Return the tensor parallel degree of a command, 1 where it names none."""
    text = _flag(arguments, _DEGREE_FLAGS)
    if text is None:
        return 1
    if not text.isdecimal() or int(text) < 1:
        faults.append(Fault(f"{text!r} is no tensor parallel degree", path))
        return 1
    return int(text)


def _environment(value: object) -> dict[str, str]:
    """Return an environment, written as a mapping or as a list of NAME=VALUE."""
    if isinstance(value, dict):
        return {str(name): str(content) for name, content in value.items()}
    if isinstance(value, list):
        pairs = (str(item).partition("=") for item in value)
        return {name: content for name, _, content in pairs}
    return {}


def _visible(
    environment: Mapping[str, str], degree: int, path: str, faults: list[Fault]
) -> tuple[int, ...] | None:
    """Return the GPUs that an environment shows to a process, as many as it uses."""
    for name in _VISIBLE:
        if name in environment:
            return _indices(environment[name].split(","), degree, f"{path}.{name}", faults)
    return None


def _reserved(
    entry: Mapping[str, Any], degree: int, path: str, faults: list[Fault]
) -> tuple[int, ...] | None:
    """Return the GPUs that a compose service reserves by their ids."""
    try:
        devices = entry["deploy"]["resources"]["reservations"]["devices"]
        ids = next(device["device_ids"] for device in devices if "device_ids" in device)
    except (KeyError, TypeError, StopIteration):
        return None
    return _indices([str(device) for device in ids], degree, f"{path}.device_ids", faults)


def _indices(
    words: Sequence[str], degree: int, path: str, faults: list[Fault]
) -> tuple[int, ...] | None:
    """Return GPU numbers; None where they are names (``all``, ``GPU-...``) or variables."""
    words = [word.strip() for word in words]
    if not all(word.isdecimal() for word in words):
        return None
    if len(words) < degree:
        faults.append(Fault(f"{len(words)} GPUs are given for {degree} ranks", path))
    return tuple(int(word) for word in words[:degree])
