"""Kubernetes objects: workloads, KServe services, Ray, Dynamo and AIBrix."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from kvplace.scaffold.deployments.deployment import Deployment, Entry, Instance, Unread
from kvplace.scaffold.deployments.documents import at, documents, listed, mapping, texts, whole
from kvplace.scaffold.deployments.kubernetes.charts import runtime_entries
from kvplace.scaffold.deployments.kubernetes.pods import (
    Asked,
    all_gpus,
    arguments,
    asked,
    container_entries,
    engine_entries,
    model_of,
    numbered,
    others,
    pod_entries,
    pods_of,
)
from kvplace.scaffold.deployments.kubernetes.ray_serve import read_ray_serve

_PLACEMENT = "kvplace/placement"
_POOL = "pool.aibrix.ai/name"
_Place = tuple[str, str, tuple[int, ...]]  # model, host, GPUs
_GPU_ID = re.compile(r"(.+)/(\d{1,4})", re.ASCII)
_ENGINES_OF_OTHERS = {
    # Kinds that start engines without a container of their own in the object.
    ("kubeai.org", "Model"),
    ("kaito.sh", "Workspace"),
    ("kaito.sh", "InferenceSet"),
    ("kaito.sh", "RAGEngine"),
    ("inference.llmaz.io", "Playground"),
    ("ome.io", "InferenceService"),
    ("apps.nvidia.com", "NIMService"),
    ("nvidia.com", "DynamoGraphDeploymentRequest"),
}
_QUOTAS = (
    "LimitRange",
    "ResourceQuota",
    "ClusterQueue",
    "LocalQueue",
    "ResourceFlavor",
    "NodePool",
)
"""Kinds that speak of GPUs and hold none."""
_OTHER_FORMATS = (
    *("tensorflow", "pytorch", "onnx", "sklearn", "xgboost", "lightgbm", "triton", "tensorrt"),
    *("paddle", "pmml", "mlflow", "openvino_ir", "catboost"),
)
"""Formats of models that are no LLM checkpoint."""


def is_kubernetes(parsed: object) -> bool:
    """Say whether a document is a Kubernetes object."""
    return isinstance(at(parsed, "apiVersion"), str) and isinstance(at(parsed, "kind"), str)


def read_kubernetes(objects: Sequence[Any]) -> Deployment:
    """Read the objects of one or several manifests; what uses no GPU is left out."""
    entries: list[Entry] = []
    notes: list[str] = []
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
        kind, name = str(parsed.get("kind")), _name(parsed)
        pool = at(parsed, "metadata", "labels", _POOL)
        if kind == "ModelClaim":
            found: list[Entry] = [_claim(name, parsed, pools)]
        elif claimed and pool:
            continue  # its claims say what it serves
        elif kind in _READERS:
            found = _READERS[kind](name, parsed)
        else:
            pods = list(pods_of(parsed, name))
            placed = _own(parsed) if pods and not pool else []
            found = placed or [entry for one in pods for entry in pod_entries(one)]
        if not found:
            found, left_out = _nothing(kind, name, parsed)
            notes += left_out
        entries += found
    return Deployment("Kubernetes", (), notes=tuple(notes)).of(entries)


def _name(parsed: Mapping[str, Any]) -> str:
    """Return the name of an object, or what the names made of it begin with."""
    begin = str(at(parsed, "metadata", "generateName") or "?").rstrip("-")
    return str(at(parsed, "metadata", "name") or begin)


def _nothing(kind: str, name: str, parsed: Mapping[str, Any]) -> tuple[list[Entry], list[str]]:
    """Return what an object that was not read holds, or why that is nothing."""
    pods = list(pods_of(parsed, name))
    if pods and not any(one.copies for one in pods):
        return [], [f"{name} has 0 replicas and is left out"]
    if kind in _QUOTAS:
        return [], []
    if _READERS.get(kind) is _preset:
        return [], [f"{name} is a preset that services name; it starts nothing itself"]
    gpus, profile = all_gpus(parsed), at(parsed, "spec", "resourceProfile")
    chips = others(parsed)
    if isinstance(profile, str) and "gpu" not in profile:
        chips = [profile]
    if chips and not gpus:
        return [], [f"{name} asks for {', '.join(chips)}, which is no GPU, and is left out"]
    group = str(parsed.get("apiVersion")).partition("/")[0]
    if gpus or (group, kind) in _ENGINES_OF_OTHERS:
        a = "an" if kind[:1] in "AEIOU" else "a"
        why = f"{a} {kind} is not read here"
        if kind == "InferenceService":
            why = "its predictor has neither a model nor containers"
        return [Unread(name, why, None, gpus or None)], []
    return [], [f"{name} asks for no GPU and is left out"] if kind in _READERS else []


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
    words = ["vllm", "serve", url]
    for key, value in mapping(at(spec, "engineConfig", "args")).items():
        words.append(f"--{str(key).lstrip('-')}={value}")
    model = str(spec.get("modelName") or name)
    places = pools.get(str(at(spec, "podSelector", "matchLabels", _POOL)), [])
    place = next((place for place in places if place[0] == model), None)
    (found,) = engine_entries(model, words, Asked(None), 1)[:1]
    if isinstance(found, Unread):
        return Unread(name, found.reason, None, None, command=found.command)
    if place is None:
        return found
    places.remove(place)  # a further copy in the same pool is the next one
    return replace(found, name=model, gpus=place[2], host=place[1], served="")


def _llm_service(name: str, parsed: Mapping[str, Any]) -> list[Entry]:
    """Read a KServe LLMInferenceService."""
    spec = mapping(parsed.get("spec"))
    copies = whole(spec.get("replicas"), 1)
    containers = listed(at(spec, "template", "containers"))
    gpus = sum(asked(container).gpus or 0 for container in containers)
    on_cpu = not gpus and any(
        at(container, "resources") and not asked(container).any for container in containers
    )
    uri, own = at(spec, "model", "uri"), at(spec, "model", "name")
    parallel = mapping(spec.get("parallelism"))
    if spec.get("worker") or spec.get("prefill"):
        why = "it divides its work over several kinds of pods"
        return [Unread(name, why, None, all_gpus(spec) or None)]
    if on_cpu or not isinstance(uri, str):
        return []
    words = ["vllm", "serve", model_of(uri)]
    words += [
        f"--{key}-parallel-size={parallel[key]}"
        for key in ("tensor", "pipeline", "data")
        if parallel.get(key)
    ]
    for container in containers:
        words += [word.replace("{{ .Spec.Model.Name }}", str(own)) for word in arguments(container)]
    words += [f"--served-model-name={own}"] if isinstance(own, str) else []
    if gpus and not any("parallel" in word or word.startswith("-tp") for word in words):
        words.append(f"--tensor-parallel-size={gpus}")
    return engine_entries(name, words, Asked(gpus or None), copies)


def _inference_service(name: str, parsed: Mapping[str, Any]) -> list[Entry]:
    """Read a KServe InferenceService."""
    predictor = mapping(at(parsed, "spec", "predictor"))
    copies = whole(predictor.get("minReplicas"), 1)
    model = predictor.get("model")
    if not isinstance(model, dict):
        return [
            entry
            for container in listed(predictor.get("containers"))
            if isinstance(container, dict)
            for entry in container_entries(name, container, copies)
        ]
    asks = asked(model)
    if not asks.any:
        return []
    words, uri = arguments(model), model.get("storageUri")
    named = next(
        (
            word.partition("=")[2]
            for word in words
            if word.replace("_", "-").startswith("--model-id=")
        ),
        None,
    )
    kind = at(model, "modelFormat", "name")
    if not named and str(kind).casefold() in _OTHER_FORMATS:
        why = f"it serves a model in the format {kind}"
        return [Unread(numbered(name, i, copies), why, None, asks.count) for i in range(copies)]
    source = named or (uri if isinstance(uri, str) else "")
    if not source:
        return [
            Unread(numbered(name, i, copies), "it names no model", None, asks.count)
            for i in range(copies)
        ]
    return engine_entries(name, ["vllm", "serve", source, *words], asks, copies)


def _runtime(name: str, parsed: Mapping[str, Any]) -> list[Entry]:
    """Read a VLLMRuntime of production-stack's operator."""
    return runtime_entries(name, mapping(parsed.get("spec")))


def _ray_service(name: str, parsed: Mapping[str, Any]) -> list[Entry]:
    """Read a RayService by the Serve config in it."""
    text = at(parsed, "spec", "serveConfigV2")
    inner = documents(text, name) if isinstance(text, str) else []
    if not inner or not isinstance(inner[0], dict):
        return []
    found = read_ray_serve(inner[0], "")
    return [*found.instances, *found.unread]


def _dynamo(name: str, parsed: Mapping[str, Any]) -> list[Entry]:
    """Read a DynamoGraphDeployment: its services, by name or as a list, or its components."""
    services = at(parsed, "spec", "services")
    pairs = (
        services.items()
        if isinstance(services, dict)
        else ((at(entry, "name"), entry) for entry in listed(services))
    )
    entries: list[Entry] = []
    named = [(key, service) for key, service in pairs if isinstance(service, dict)]
    named += [
        (at(entry, "name"), _dynamo_component(entry))
        for entry in listed(at(parsed, "spec", "components"))
        if isinstance(entry, dict)
    ]
    parts = [f"{key} {service.get('subComponentType')}".casefold() for key, service in named]
    split = any("prefill" in part for part in parts)
    for key, service in named:
        container = {**mapping(at(service, "extraPodSpec", "mainContainer"))}
        container["resources"] = service.get("resources") or container.get("resources")
        part = service.get("subComponentType")
        if split and "decode" in f"{key} {service.get('type')}".casefold():
            part = "decode"  # without a service for the prefill it would be a whole engine
        label = "/".join(str(one) for one in (name, part, key) if one)
        copies, hosts = whole(service.get("replicas"), 1), at(service, "multinode", "nodeCount")
        if whole(hosts, 1) > 1:
            gpus = whole(hosts, 1) * (asked(container).gpus or 0)
            why = "one engine over several pods, which kvplace does not plan"
            entries += [
                Unread(numbered(label, i, copies), why, None, gpus or None) for i in range(copies)
            ]
        else:
            entries += container_entries(label, container, copies)
    return entries


def _dynamo_component(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a component, as v1beta1 has it, in the words of a service."""
    containers = [one for one in listed(at(entry, "podTemplate", "spec", "containers"))
                  if isinstance(one, dict)]  # fmt: skip
    first = containers[0] if containers else {}
    main = next((one for one in containers if one.get("name") == "main"), first)
    return {
        **entry,
        "extraPodSpec": {"mainContainer": main},
        "subComponentType": "prefill" if entry.get("type") == "prefill" else None,
    }


def _preset(name: str, parsed: Mapping[str, Any]) -> list[Entry]:
    """Read what others name and what starts nothing itself."""
    del name, parsed
    return []


def _kubeai(name: str, parsed: Mapping[str, Any]) -> list[Entry]:
    """Read a Model of KubeAI: its profile says which accelerators, and how many."""
    spec = mapping(parsed.get("spec"))
    profile, _, count = str(spec.get("resourceProfile") or "").partition(":")
    url, engine = spec.get("url"), str(spec.get("engine") or "VLLM")
    if not str(parsed.get("apiVersion")).startswith("kubeai.org/"):
        return []
    if "gpu" not in profile or not isinstance(url, str) or engine.casefold() != "vllm":
        return []
    words = ["vllm", "serve", url, *arguments(spec)]
    asks, copies = Asked(whole(count, 1)), whole(spec.get("minReplicas"), 1) or 1
    return engine_entries(name, words, asks, copies)


_READERS = {
    "Model": _kubeai,
    "LLMInferenceService": _llm_service,
    "LLMInferenceServiceConfig": _preset,
    "InferenceService": _inference_service,
    "VLLMRuntime": _runtime,
    "RayService": _ray_service,
    "DynamoGraphDeployment": _dynamo,
}
"""Kinds that say what they serve in words of their own."""


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


def _own(parsed: Mapping[str, Any]) -> list[Entry]:
    """Return the instances of an object that kvplace exported; its script is in a ConfigMap."""
    names = [_without_copy(name) for name, _ in _own_names(parsed)]
    placed = _placed(parsed)
    return [
        Instance(name, name, len(gpus), gpus, host)
        for name, (host, gpus) in zip(names, placed, strict=False)
    ]
