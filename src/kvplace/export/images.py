"""Container images and the files that containers need."""

from collections.abc import Iterable

from kvplace.errors import InputError
from kvplace.export.commands import KVCACHED
from kvplace.export.layout import Engine

CACHE = "/root/.cache/huggingface"
"""Where the engines' images keep what they download."""
SHM_GIB = 16
"""Shared memory of a container: ranks of one engine and the elastic pool talk through it."""
_IMAGES = {
    ("vllm", False): "vllm/vllm-openai:latest",
    ("sglang", False): "lmsysorg/sglang:latest",
    ("vllm", True): "ghcr.io/ovg-project/kvcached-vllm:latest",
    ("sglang", True): "ghcr.io/ovg-project/kvcached-sglang:latest",
}


def image_of(engine: Engine, pool: str) -> str:
    """Return the image of an engine: its own, else the public one of its engine."""
    launch = engine.model.launch
    return launch.image or _IMAGES[launch.engine, pool == KVCACHED]


def one_image(engines: Iterable[Engine], pool: str, where: str) -> str:
    """Return the image that all engines of a pod share.

    Raises
    ------
    InputError
        They want different ones.
    """
    images = {image_of(engine, pool): engine.model.name for engine in engines}
    if len(images) > 1:
        first, second = sorted(images)[:2]
        raise InputError(
            f"{images[first]!r} and {images[second]!r} share {where} and so one container, but "
            f"launch from {first} and {second}; give both one launch.image",
            "placement",
        )
    return next(iter(images))


def mounted(engines: Iterable[Engine]) -> list[str]:
    """Return directories of the host that hold checkpoints, each once.

    Raises
    ------
    InputError
        One cannot be mounted.
    """
    paths = sorted({engine.source for engine in engines if engine.source.startswith("/")})
    for path in paths:
        if ":" in path or not path.isprintable():
            raise InputError(f"the directory {path!r} cannot be mounted: it holds a colon or worse")
    return paths


def health_check(ports: Iterable[int]) -> list[str]:
    """Return the words of a command that succeeds where the engines on all ports answer."""
    listed = ", ".join(map(str, ports))
    code = (
        "import urllib.request as r; "
        f"[r.urlopen('http://127.0.0.1:%d/health' % p, timeout=5) for p in [{listed}]]"
    )
    return ["python3", "-c", code]
