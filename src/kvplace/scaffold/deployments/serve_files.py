"""Configs of llama-swap and Prism."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from kvplace.scaffold.deployments.compose import environment_of
from kvplace.scaffold.deployments.deployment import Deployment, Entry, Instance, Unread
from kvplace.scaffold.deployments.documents import at, listed, mapping, whole
from kvplace.scaffold.deployments.started import started


def read_llama_swap(parsed: Mapping[str, Any]) -> Deployment:
    """Read a llama-swap config: the commands of its models, macros put in."""
    entries: list[Entry] = []
    macros = mapping(parsed.get("macros"))
    for name, entry in mapping(parsed.get("models")).items():
        own = {str(k): str(v) for k, v in {**macros, **mapping(at(entry, "macros"))}.items()}
        own["MODEL_ID"] = str(name)
        environment = environment_of(at(entry, "env"))
        try:
            words = shlex.split(_with_macros(str(at(entry, "cmd") or ""), own), comments=True)
        except ValueError as error:
            entries.append(Unread(str(name), str(error), None, None))
            continue
        entries += started(str(name), words, environment, gpu=True)
    note = "llama-swap starts a model when it is asked for; all are taken as running"
    return Deployment("llama-swap", (), notes=(note,)).of(entries)


def _with_macros(text: str, macros: Mapping[str, str]) -> str:
    """Put in macros, which may name others, a few times over."""
    for _ in range(8):
        before = text
        for name, value in macros.items():
            text = text.replace("${" + name + "}", value)
            if len(text) > 2**17:
                raise ValueError("its macros are too long")
        if text == before:
            break
    return text


def read_prism(parsed: Sequence[Any]) -> Deployment:
    """Read a list of models with their first placements, as Prism's launcher takes it."""
    instances: list[Instance] = []
    for entry in parsed:
        model, name = at(entry, "model_path"), str(at(entry, "model_name") or "?")
        degree = whole(at(entry, "tp_size"), 1)
        for number, placement in enumerate(listed(at(entry, "init_placements"))):
            ids = listed(at(placement, "gpu_ids"))
            gpus = tuple(gpu for gpu in ids if isinstance(gpu, int) and 0 <= gpu < 1024)
            if isinstance(model, str) and at(placement, "on") is not False:
                label = name if number == 0 else f"{name}-{number}"
                instances.append(Instance(label, model, degree, gpus or None))
    return Deployment("Prism", tuple(instances))
