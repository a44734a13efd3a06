"""Which GPUs of a host a container sees, and which of those its process uses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kvplace.scaffold.deployments.documents import at, listed, mapping, texts

_INSIDE = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
_OUTSIDE = "NVIDIA_VISIBLE_DEVICES"
_NONE = ("", "none", "void", "-1")
_GPU_FILES = ("/dev/nvidia", "/dev/kfd", "/dev/dri", "nvidia.com/gpu", "amd.com/gpu")
_MOST = 1024


@dataclass(frozen=True, slots=True)
class Devices:
    """What a service says of GPUs.

    Parameters
    ----------
    any
        Whether it uses GPUs at all.
    gpus
        Numbers of those its process sees, on the host; None where they are all or not known.
    count
        How many it asks for; None where it does not tell.
    everything
        Whether its process sees all GPUs of the host.
    """

    any: bool
    gpus: tuple[int, ...] | None = None
    count: int | None = None
    everything: bool = False

    def first(self, number: int) -> tuple[int, ...] | None:
        """Return the GPUs of a process that uses so many; None where they are not known."""
        if self.gpus is not None:
            return self.gpus[:number] if len(self.gpus) >= number else None
        return tuple(range(number)) if self.everything else None


def devices_of(service: Mapping[str, Any], environment: Mapping[str, str]) -> Devices:
    """Return what a compose service says of GPUs."""
    host, count, asked = _reserved(service)
    outside = environment.get(_OUTSIDE)
    runtime = service.get("runtime") == "nvidia"
    mounted = any(text.startswith(_GPU_FILES) for text in texts(service.get("devices")))
    if (
        outside is not None
        and outside.strip().casefold() not in _NONE
        and (not asked or host is None)
    ):
        numbers = _numbers(outside)
        host = numbers if numbers is not None else host
        asked = True
        if numbers is None and outside.strip().casefold() != "all":
            count = len(outside.split(","))  # by their names, which are not known here
    everything = host is None and (asked or runtime or mounted) and count is None
    inside = next((environment[name] for name in _INSIDE if environment.get(name)), None)
    uses = asked or runtime or mounted or inside is not None
    if inside is not None and inside.strip() not in _NONE:
        numbers = _numbers(inside)
        if numbers is None:
            return Devices(uses, None, len(inside.split(",")))
        if host is not None:
            # The process counts within what the container sees.
            if any(number >= len(host) for number in numbers):
                return Devices(uses, None, len(numbers))
            numbers = tuple(host[number] for number in numbers)
        return Devices(uses, numbers, len(numbers))
    if host is not None:
        return Devices(uses, host, len(host))
    return Devices(uses, None, count, everything)


def _reserved(service: Mapping[str, Any]) -> tuple[tuple[int, ...] | None, int | None, bool]:
    """Return the GPUs that a service reserves by number, how many, and whether any."""
    requests = listed(at(service, "deploy", "resources", "reservations", "devices"))
    gpus = service.get("gpus")
    if gpus == "all":
        return None, None, True
    requests = [*requests, *listed(gpus)]
    for request in map(mapping, requests):
        kinds = {text.casefold() for text in texts(request.get("capabilities"))}
        driver = str(request.get("driver", "")).casefold()
        if not (kinds & {"gpu", "nvidia", "compute"} or driver in ("nvidia", "amd", "cdi") or gpus):
            continue
        ids = list(texts(request.get("device_ids")))
        if ids:
            numbers = _numbers(",".join(ids))
            return numbers, len(ids), True
        count = request.get("count")
        if isinstance(count, str) and count.strip().isdecimal() and len(count) < 6:
            count = int(count)
        if isinstance(count, int) and not isinstance(count, bool) and 0 < count <= _MOST:
            return tuple(range(count)), count, True  # docker gives the first ones of the host
        return None, None, True
    return None, None, False


def _numbers(text: str) -> tuple[int, ...] | None:
    """Return GPU numbers; None where they are names (``all``, ``GPU-...``, ``0:1``)."""
    words: Sequence[str] = [word.strip() for word in text.split(",") if word.strip()]
    words = [word.rpartition("=")[2] for word in words]  # nvidia.com/gpu=0
    if not words or not all(
        word.isascii() and word.isdecimal() and len(word) < 5 for word in words
    ):
        return None
    return tuple(int(word) for word in words)
