"""Any file that says what runs now: told apart by what is in it, and read by its reader."""

from collections.abc import Callable, Mapping
from typing import Any

from kvplace.errors import Fault, InputError
from kvplace.scaffold.deployments.compose import read_compose
from kvplace.scaffold.deployments.deployment import Deployment
from kvplace.scaffold.deployments.documents import at, documents, listed
from kvplace.scaffold.deployments.kubernetes.charts import read_production_stack
from kvplace.scaffold.deployments.kubernetes.objects import is_kubernetes, read_kubernetes
from kvplace.scaffold.deployments.kubernetes.pods import all_gpus
from kvplace.scaffold.deployments.kubernetes.ray_serve import is_ray_serve, read_ray_serve
from kvplace.scaffold.deployments.kvcached import read_kvcached
from kvplace.scaffold.deployments.scripts import (
    is_unit,
    read_script,
    read_unit,
    started_elsewhere,
)
from kvplace.scaffold.deployments.serve_files import read_llama_swap, read_prism

KINDS = (
    "a compose file, Kubernetes objects (also KServe, RayService and AIBrix claims), values of "
    "vLLM's production-stack, a Ray Serve, llama-swap, kvcached or Prism config, or a script or "
    "unit of systemd that starts engines"
)
"""What `read_deployment` reads, for messages."""


def read_deployment(text: str, source: str, aliases: Mapping[str, str] | None = None) -> Deployment:
    """Read a deployment.

    Parameters
    ----------
    text
        Content of a file, one of `KINDS`.
    source
        Its path, for messages and for what it names beside it.
    aliases
        Models by other names that it may use, such as paths where they run.

    Raises
    ------
    InputError
        It is none of these, serves no model, or cannot be read: every fault at once.
    """
    found = None
    if text.startswith("#!") or source.casefold().endswith((".sh", ".bash")):
        found = read_script(text)
        if found is None:
            file = started_elsewhere(text)
            hint = f"; it starts what {file} says, so read that" if file else ""
            message = "no command of this script starts an engine that is known here"
            raise InputError(message + hint, source)
    elif is_unit(text):
        found = read_unit(text)
        if found is None:
            raise InputError("its ExecStart starts no engine that is known here", source)
    if found is None:
        found = _read(documents(text, source), text, source)
    found = found.with_names(aliases or {})
    if not found.instances and not found.unread:
        nothing = "it serves no model: no command names one with --model"
        raise InputError([Fault(nothing), *map(Fault, found.notes)], source)
    if not found.instances:
        faults = [Fault(held.describe()) for held in found.unread]
        faults += map(Fault, found.notes)
        raise InputError([*faults, Fault("nothing of it can be read")], source)
    return found


def _read(parsed: list[Any], text: str, source: str) -> Deployment:
    """Tell the kind of a parsed file by its keys."""
    if parsed and all(is_kubernetes(document) for document in parsed):
        return read_kubernetes(parsed)
    only: Any = parsed[0] if len(parsed) == 1 else None
    for fits, read in _KINDS:
        if only is not None and fits(only):
            return read(only, source)
    script = read_script(text)
    if script is not None:
        return script
    if all_gpus(parsed):
        raise InputError(
            "it asks for GPUs, and is no kind of file that is known here; where it is the values "
            "of a chart, read what helm template makes of it",
            source,
        )
    if any(at(entry, "litellm_params") for entry in listed(at(only, "model_list"))):
        what = "this is the config of a LiteLLM proxy, which starts no engine"
        raise InputError(f"{what}; read what starts the engines that it names", source)
    schema = str(at(parsed[0], "schema") if parsed else "")
    if schema.startswith("kvplace."):
        kind = "plan" if "plan" in schema else "fleet file"
        raise InputError(f"this is a {kind} of kvplace, and what runs an engine is wanted", source)
    raise InputError(f"this is none of: {KINDS}", source)


def _has_commands(parsed: Any) -> bool:
    models = at(parsed, "models")
    return isinstance(models, dict) and any(at(entry, "cmd") for entry in models.values())


_KINDS: tuple[tuple[Callable[[Any], object], Callable[[Any, str], Deployment]], ...] = (
    (
        lambda file: isinstance(file, list) and file and at(file[0], "model_path"),
        lambda file, _: read_prism(file),
    ),
    (
        lambda file: isinstance(at(file, "instances"), list),
        lambda file, source: read_kvcached(file["instances"], source),
    ),
    (lambda file: isinstance(at(file, "services"), dict) or at(file, "include"), read_compose),
    (
        lambda file: listed(at(file, "servingEngineSpec", "modelSpec")),
        lambda file, _: read_production_stack(file),
    ),
    (is_ray_serve, read_ray_serve),
    (_has_commands, lambda file, _: read_llama_swap(file)),
    (lambda file: listed(at(file, "items")), lambda file, _: read_kubernetes([file])),
)
"""How to know a file by what is in it, and who reads it."""
