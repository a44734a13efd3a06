"""Kubernetes objects: workloads, KServe services, AIBrix claims, and values of production-stack."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kvplace.scaffold.deployments.commands import NotUnderstoodError, read_command, split_words
from kvplace.scaffold.deployments.deployment import Deployment, Instance, Unread
from kvplace.scaffold.deployments.documents import at, listed, mapping, texts, whole

__all__ = ["is_kubernetes", "read_kubernetes", "read_production_stack"]

_GPU_RESOURCES = re.compile(r"gpu|(nvidia|amd)\.com/(gpu|mig-.*)|gpu\.intel\.com/.*")
_PLACEMENT = "kvplace/placement"
_POOL = "pool.aibrix.ai/name"
_Place = tuple[str, str, tuple[int, ...]]  # model, host, GPUs
_GPU_ID = re.compile(r"(.+)/(\d{1,4})", re.ASCII)
_WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "Pod")
_SCHEMES = ("huggingface://", "hf://")


def is_kubernetes(parsed: object) -> bool:
    """Say whether a document is a Kubernetes object."""
    return isinstance(at(parsed, "apiVersion"), str) and isinstance(at(parsed, "kind"), str)


def read_kubernetes(objects: Sequence[Any]) -> Deployment:
    """Read the objects of one or several manifests; those that use no GPU are left out."""
    instances: list[Instance] = []
    unread: list[Unread] = []
    flat = [inner for parsed in objects for inner in _items(parsed)]
    claimed = any(at(parsed, "kind") == "ModelClaim" for parsed in flat)
    pools = {
        str(at(parsed, "metadata", "labels", _POOL)): [
            (_without_copy(model), *place)
            for (model, _), place in zip(_own_names(parsed), _placed(parsed), strict=False)
        ]
        for parsed in flat
        if at(parsed, "metadata", "labels", _POOL)
    }
    for parsed in flat:
        kind, name = str(parsed.get("kind")), str(at(parsed, "metadata", "name") or "?")
        if kind == "ModelClaim":
            found: list[Instance | Unread] = [_claim(name, parsed, pools)]
        elif kind == "LLMInferenceService":
            found = _llm_service(name, parsed)
        elif kind == "InferenceService":
            found = _inference_service(name, parsed)
        elif kind == "VLLMRuntime":
            found = _runtime(name, parsed)
        elif kind == "RayService":
            found = _ray_service(name, parsed)
        elif at(parsed, "spec", "template") or kind in _WORKLOADS:
            pool = at(parsed, "metadata", "labels", _POOL)
            if claimed and pool:
                continue  # its claims say what it serves
            found = _workload(name, parsed)
        else:
            found = _elsewhere(kind, name, parsed)
        instances += [entry for entry in found if isinstance(entry, Instance)]
        unread += [entry for entry in found if isinstance(entry, Unread)]
    return Deployment("Kubernetes", tuple(instances), tuple(unread))


def read_production_stack(values: Mapping[str, Any]) -> Deployment:
    """Read the values of vLLM's production-stack chart."""
    instances: list[Instance] = []
    unread: list[Unread] = []
    for index, spec in enumerate(listed(at(values, "servingEngineSpec", "modelSpec"))):
        name = str(at(spec, "name") or f"modelSpec[{index}]")
        config = mapping(at(spec, "vllmConfig"))
        model, copies = at(spec, "modelURL"), whole(at(spec, "replicaCount"), 1)
        gpus = whole(at(spec, "requestGPU"), 1)
        if not gpus:
            continue  # a model on the CPU
        words = [f"--{flag}={config[key]}" for key, flag in _CHART.items() if config.get(key)]
        words += split_words(config.get("extraArgs")) if _closed(config.get("extraArgs")) else []
        if not isinstance(model, str):
            unread += [Unread(name, "it names no modelURL", None, gpus)] * copies
            continue
        for entry in _engines(name, ["vllm", "serve", model, *words], "", {}, gpus, copies):
            if isinstance(entry, Instance):
                instances.append(entry)
            else:
                unread.append(entry)
    return Deployment("production-stack", tuple(instances), tuple(unread))


_CHART = {
    "tensorParallelSize": "tensor-parallel-size",
    "pipelineParallelSize": "pipeline-parallel-size",
}


def _closed(value: object) -> bool:
    """Say whether the quotes of words close."""
    try:
        split_words(value)
    except ValueError:
        return False
    return True


def _items(parsed: Any) -> Iterator[Mapping[str, Any]]:
    """Yield an object, or those of a list of objects."""
    if at(parsed, "kind") == "List" or (not at(parsed, "kind") and listed(at(parsed, "items"))):
        yield from (entry for entry in listed(at(parsed, "items")) if isinstance(entry, dict))
    elif isinstance(parsed, dict):
        yield parsed


def _claim(
    name: str, parsed: Mapping[str, Any], pools: Mapping[str, list[_Place]]
) -> Instance | Unread:
    """Read an AIBrix ModelClaim; pools that kvplace exported say where its model runs."""
    spec = mapping(parsed.get("spec"))
    url = spec.get("artifactURL")
    if not isinstance(url, str) or not url:
        return Unread(name, "its claim names no artifactURL", None, None)
    arguments = {
        str(key).lstrip("-").replace("_", "-"): value
        for key, value in mapping(at(spec, "engineConfig", "args")).items()
    }
    if whole(arguments.get("pipeline-parallel-size"), 1) > 1:
        return Unread(
            name, "it runs with pipeline parallel, which kvplace does not plan", None, None
        )
    degree = whole(arguments.get("tensor-parallel-size"), 1)
    model = str(spec.get("modelName") or name)
    places = pools.get(str(at(spec, "podSelector", "matchLabels", _POOL)), [])
    place = next((place for place in places if place[0] == model), None)
    if place is None:
        return Instance(model, _model(url), degree, None)
    places.remove(place)  # a further copy in the same pool is the next one
    return Instance(model, _model(url), degree, place[2], place[1])


def _llm_service(name: str, parsed: Mapping[str, Any]) -> list[Instance | Unread]:
    """Read a KServe LLMInferenceService."""
    spec = mapping(parsed.get("spec"))
    copies = whole(spec.get("replicas"), 1)
    containers = listed(at(spec, "template", "containers"))
    gpus = sum(_gpus(container) or 0 for container in containers)
    uri = at(spec, "model", "uri")
    parallel = mapping(spec.get("parallelism"))
    if at(spec, "worker") or at(spec, "prefill"):
        return [Unread(name, "it divides its work over several kinds of pods", None, gpus or None)]
    if not isinstance(uri, str):
        return [Unread(name, "it names no model", None, gpus or None)] if gpus else []
    words = ["vllm", "serve", _model(uri)]
    for key, flag in (("tensor", "tensor"), ("pipeline", "pipeline"), ("data", "data")):
        if parallel.get(key):
            words.append(f"--{flag}-parallel-size={parallel[key]}")
    for container in containers:
        words += _arguments(container)
    if gpus and not any("parallel" in word or word.startswith("-tp") for word in words):
        words.append(f"--tensor-parallel-size={gpus}")
    return _engines(name, words, "", {}, gpus or None, copies)


def _inference_service(name: str, parsed: Mapping[str, Any]) -> list[Instance | Unread]:
    """Read a KServe InferenceService."""
    predictor = mapping(at(parsed, "spec", "predictor"))
    copies = whole(predictor.get("minReplicas"), 1)
    model = predictor.get("model")
    if not isinstance(model, dict):
        return [
            entry
            for container in listed(predictor.get("containers"))
            for entry in _container(name, container, copies, parsed)
        ]
    gpus = _gpus(model)
    words, uri = _arguments(model), model.get("storageUri")
    named = next(
        (
            word.partition("=")[2]
            for word in words
            if word.replace("_", "-").startswith("--model-id=")
        ),
        None,
    )
    source = named or (_model(uri) if isinstance(uri, str) and uri.startswith(_SCHEMES) else None)
    if not gpus:
        return []
    if source is None:
        return [Unread(name, f"its model is {uri or 'not named'}", None, gpus)] * copies
    return _engines(name, ["vllm", "serve", source, *words], "", {}, gpus, copies)


def _runtime(name: str, parsed: Mapping[str, Any]) -> list[Instance | Unread]:
    """Read a VLLMRuntime of production-stack's operator."""
    spec = mapping(parsed.get("spec"))
    deployment = mapping(spec.get("deploymentConfig"))
    config = mapping(spec.get("vllmConfig"))
    model = at(spec, "model", "modelURL")
    gpus = whole(at(deployment, "resources", "gpu"), 0) or None
    copies = whole(deployment.get("replicas"), 1)
    if not isinstance(model, str):
        return [Unread(name, "it names no modelURL", None, gpus)] * copies if gpus else []
    words = [f"--{flag}={config[key]}" for key, flag in _CHART.items() if config.get(key)]
    return _engines(name, ["vllm", "serve", model, *words], "", {}, gpus, copies)


def _ray_service(name: str, parsed: Mapping[str, Any]) -> list[Instance | Unread]:
    """Read a RayService by the Serve config in it."""
    from kvplace.scaffold.deployments.documents import documents  # noqa: PLC0415 - rare
    from kvplace.scaffold.deployments.serve_files import read_ray_serve  # noqa: PLC0415 - a cycle

    text = at(parsed, "spec", "serveConfigV2")
    inner = documents(text, name) if isinstance(text, str) else []
    if not inner or not isinstance(inner[0], dict):
        return _elsewhere("RayService", name, parsed)
    found = read_ray_serve(inner[0])
    return [*found.instances, *found.unread]


def _workload(name: str, parsed: Mapping[str, Any]) -> list[Instance | Unread]:
    """Read a workload with a template of pods, or a pod."""
    spec = mapping(parsed.get("spec"))
    template = mapping(spec.get("template"))
    # LeaderWorkerSets keep theirs deeper: a group of pods is one replica.
    group = mapping(spec.get("leaderWorkerTemplate"))
    pods = mapping(template.get("spec")) or (spec if parsed.get("kind") == "Pod" else {})
    copies = whole(spec.get("replicas"), 1)
    placed = _placed(parsed)
    if placed and not at(parsed, "metadata", "labels", _POOL):
        entries = _own(parsed, placed)
        if entries:
            return entries
    if group:
        return _elsewhere("LeaderWorkerSet", name, parsed)
    return [
        entry
        for container in listed(pods.get("containers"))
        for entry in _container(name, container, copies, parsed)
    ]


def _container(
    name: str, container: Any, copies: int, parsed: Mapping[str, Any]
) -> list[Instance | Unread]:
    """Read one container of a pod."""
    if not isinstance(container, dict):
        return []
    gpus = _gpus(container)
    environment = {
        str(at(entry, "name")): str(at(entry, "value") or "")
        for entry in listed(container.get("env"))
    }
    label = (
        name
        if len(listed(at(parsed, "spec", "template", "spec", "containers"))) < 2
        else (f"{name}/{container.get('name', '?')}")
    )
    image = container.get("image")
    words = [_expanded(word, environment) for word in _arguments(container)]
    return _engines(
        label, words, image if isinstance(image, str) else "", environment, gpus, copies
    )


def _engines(
    name: str,
    words: list[str],
    image: str,
    environment: Mapping[str, str],
    gpus: int | None,
    copies: int,
) -> list[Instance | Unread]:
    """Read a command into one instance per copy, or into what holds GPUs and is not understood."""
    try:
        command = read_command(words, image, environment, gpu=bool(gpus))
        if command is None:
            return []
        model = _model(command.check(gpus).model)
    except (NotUnderstoodError, ValueError) as error:
        return [Unread(_numbered(name, i, copies), str(error), None, gpus) for i in range(copies)]
    total = copies * command.copies
    return [Instance(_numbered(name, i, total), model, command.tensor, None) for i in range(total)]


def _elsewhere(kind: str, name: str, parsed: Mapping[str, Any]) -> list[Instance | Unread]:
    """Return an object of another kind, where anything in it asks for GPUs."""
    gpus = sum(_all_gpus(parsed))
    return [Unread(name, f"a {kind} is not read here", None, gpus)] if gpus else []


def _all_gpus(value: Any) -> Iterator[int]:
    """Yield the GPUs that the parts of an object ask for."""
    stack = [value]
    while stack:
        entry = stack.pop()
        if isinstance(entry, dict):
            own = _gpus({"resources": entry.get("resources")})
            if own:
                yield own
            stack += [inner for key, inner in entry.items() if key != "resources"]
        elif isinstance(entry, list):
            stack += entry


def _gpus(container: Any) -> int | None:
    """Return how many GPUs a container asks for; None where it asks for none."""
    for part in ("limits", "requests"):
        for key, value in mapping(at(container, "resources", part)).items():
            if _GPU_RESOURCES.fullmatch(str(key)):
                return whole(value, 0) or None
    return whole(at(container, "resources", "gpu"), 0) or None  # operators' own shorthand


def _arguments(container: Any) -> list[str]:
    """Return the words of a container; what cannot be split is one word."""
    words: list[str] = []
    for key in ("command", "args"):
        value = at(container, key)
        try:
            words += split_words(value)
        except ValueError:
            words += list(texts(value))
    return words


def _expanded(word: str, environment: Mapping[str, str]) -> str:
    """Put in ``$(NAME)`` of Kubernetes."""
    return re.sub(r"\$\((\w+)\)", lambda match: environment.get(match[1], match[0]), word)


def _placed(parsed: Mapping[str, Any]) -> list[tuple[str, tuple[int, ...]]]:
    """Return the hosts and GPUs that kvplace wrote into an object of its own."""
    found = []
    for _, ids in _own_names(parsed):
        matches = [_GPU_ID.fullmatch(gpu) for gpu in ids]
        if not matches or not all(matches):
            return []
        hosts = {match[1] for match in matches if match}
        if len(hosts) > 1:
            return []
        found.append((hosts.pop(), tuple(int(match[2]) for match in matches if match)))
    return found


def _own_names(parsed: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Return the models and GPU ids that kvplace wrote into an object of its own."""
    text = at(parsed, "metadata", "annotations", _PLACEMENT)
    try:
        pairs = json.loads(text) if isinstance(text, str) else []
    except (ValueError, RecursionError):
        return []
    return [
        (pair[0], list(texts(pair[1])))
        for pair in listed(pairs)
        if isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str)
    ]


def _without_copy(name: str) -> str:
    """Return a model's name without the number that further copies of it have."""
    return re.sub(r"-r\d+$", "", name)


def _own(
    parsed: Mapping[str, Any], placed: Sequence[tuple[str, tuple[int, ...]]]
) -> list[Instance | Unread]:
    """Return the instances of an object that kvplace exported; its script is in a ConfigMap."""
    names = [_without_copy(name) for name, _ in _own_names(parsed)]
    return [
        Instance(name, name, len(gpus), gpus, host)
        for name, (host, gpus) in zip(names, placed, strict=True)
    ]


def _model(url: str) -> str:
    """Return a hub id of a URL, or the URL."""
    for scheme in _SCHEMES:
        if url.startswith(scheme):
            return url.removeprefix(scheme)
    return url


def _numbered(name: str, number: int, total: int) -> str:
    return f"{name}-{number}" if total > 1 else name
