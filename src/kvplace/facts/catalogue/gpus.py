"""The catalogue of GPU types: what a process can allocate on each, with its source."""

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from kvplace.core.fact import Fact
from kvplace.errors import InputError
from kvplace.facts.catalogue.tables import gibibytes, named, number, read_tables
from kvplace.units import format_bytes, parse_bytes

_SAID_BY_VENDORS = {
    "nvidia", "amd", "intel", "tesla", "geforce", "instinct", "blackwell", "edition",
    "hbm2", "hbm2e", "hbm3", "hbm3e",
}  # fmt: skip
"""Words of product names that drivers and node labels print and that tell no two types apart."""
_GENERATION = re.compile(r"sxm\d")


class GPUType(NamedTuple):
    """A kind of GPU.

    Parameters
    ----------
    name
        Name in the catalogue: product, form and the size on the box.
    memory_bytes
        What one process can allocate, less than the size on the box.
    source
        Where `memory_bytes` comes from.
    box_gb
        The size on the box, in GB.
    bandwidth_gb_per_second
        Memory bandwidth.
    bf16_tflops, fp8_tflops, fp4_tflops
        Dense compute; None where the type cannot or the data sheet does not say.
    link_gb_per_second
        Link to the other GPUs of its node, one direction; 0 for PCIe alone.
    pcie_gb_per_second
        PCIe x16, line rate, one direction.
    source_specs
        Where the data-sheet figures come from.
    tdp_watts
        Rated power of the whole card or module; None where not known.
    source_tdp
        Where it comes from.
    usual
        Whether it is meant by a name that fits several types of the same memory.
    """

    name: str
    memory_bytes: int
    source: str
    box_gb: float | None = None
    bandwidth_gb_per_second: float | None = None
    bf16_tflops: float | None = None
    fp8_tflops: float | None = None
    fp4_tflops: float | None = None
    link_gb_per_second: float | None = None
    pcie_gb_per_second: float | None = None
    source_specs: str = ""
    tdp_watts: float | None = None
    source_tdp: str = ""
    usual: bool = False


def gpu_types() -> Mapping[str, GPUType]:
    """Return all GPU types by name: the shipped ones, then a user's own.

    Raises
    ------
    InputError
        The user's own table is wrong: every row at once.
    """
    return read_tables("gpus.csv", ("name", "usable_gib", "source"), _gpu_type)


def _gpu_type(row: Mapping[str, str]) -> GPUType:
    """Make a GPU type of a row."""
    return GPUType(
        name=row["name"].strip(),
        memory_bytes=gibibytes(row, "usable_gib"),
        source=row["source"],
        box_gb=number(row, "box_gb"),
        bandwidth_gb_per_second=number(row, "bandwidth_gb_s"),
        bf16_tflops=number(row, "bf16_tflops"),
        fp8_tflops=number(row, "fp8_tflops"),
        fp4_tflops=number(row, "fp4_tflops"),
        link_gb_per_second=number(row, "link_gb_s"),
        pcie_gb_per_second=number(row, "pcie_gb_s"),
        source_specs=row.get("source_specs", ""),
        tdp_watts=number(row, "tdp_w"),
        source_tdp=row.get("source_tdp", ""),
        usual=bool((row.get("usual") or "").strip()),
    )


def types_meant(name: str) -> Sequence[GPUType]:
    """Return the types that a name may mean: those that have all its words.

    Upper and lower case are one, and so are ``-`` and a space. Words that say less than a type,
    such as the vendor's, do not count, so that what drivers and node labels print is understood:
    ``H100``, ``A100-80GB``, ``NVIDIA-H100-80GB-HBM3``.
    """
    types = gpu_types()
    exact = named(types, name)
    if exact is not None:
        return [exact]
    asked = _words(name)
    return [t for t in types.values() if asked and asked[0] == _words(t.name)[0]
            and set(asked) <= set(_words(t.name))]  # fmt: skip


def _words(name: str) -> list[str]:
    """Return the words of a name that tell types apart."""
    joined = re.sub(r"\brtx[\s_-]+(?=\d)", "rtx", name[:100].casefold())
    words = (_GENERATION.sub("sxm", word) for word in re.split(r"[\s_-]+", joined) if word)
    return [word for word in words if word not in _SAID_BY_VENDORS]


def find_gpu_type(name: str) -> GPUType | None:
    """Return the type that a name means, or None.

    Of several types of the same memory it is the usual one; of types of different memory none.
    """
    near = types_meant(name)
    if len({t.memory_bytes for t in near}) > 1:
        return None
    return near[0] if len(near) == 1 else next((t for t in near if t.usual), None)


def gpu_type(name: str) -> GPUType:
    """Return the GPU type that a name means, as `find_gpu_type` does.

    Raises
    ------
    InputError
        The catalogue has no such type, and the nearest is named; or the name fits several.
    """
    found = find_gpu_type(name)
    if found is not None:
        return found
    near = types_meant(name)
    if near:
        raise InputError(_several(name, near))
    folded = {known.casefold(): known for known in gpu_types()}
    shown = repr(name if len(name) <= 60 else name[:59] + "…")
    close = difflib.get_close_matches(name[:60].casefold(), folded, n=1, cutoff=0.5)
    hint = f"did you mean {folded[close[0]]!r}" if close else f"known: {', '.join(folded.values())}"
    if name.casefold().endswith((".csv", ".tsv", ".json", ".yaml", ".yml")):
        hint = (
            "write GPUs like 400x8xH100,300x4xL40S (--gpus takes a CSV or Parquet file with a row "
            "per GPU as well)"
        )
    raise InputError(f"{shown} is no GPU type of the catalogue; {hint}")


def _several(name: str, near: Sequence[GPUType]) -> str:
    """Say that a name fits several types, and which."""
    choices = ", ".join(f"{t.name} ({format_bytes(t.memory_bytes)})" for t in near)
    return f"{name!r} could be {choices}; name one"


def gpu_kind(text: str) -> tuple[str, Fact[int]]:
    """Return name and usable memory of a GPU type: a name, a part of one, or bare memory.

    Parameters
    ----------
    text
        Such as ``H100-SXM-80GB``, ``H100`` or ``80GiB``. What fits several types is taken only
        where all of them have the same memory; it stays the name then, and its speed is that of
        the usual one of them (`find_gpu_type`).

    Raises
    ------
    InputError
        There is no such type or memory, or the text fits types of different memory.
    """
    if text[0] in ".+-" or (text[0].isdigit() and not types_meant(text)):
        return text, Fact(parse_bytes(text), "as given")
    near = types_meant(text)
    if len({t.memory_bytes for t in near}) > 1:
        raise InputError(_several(text, near))
    if len(near) < 2:
        found = gpu_type(text)
        return found.name, Fact(found.memory_bytes, f"usable by a process: {found.source}")
    names = " and ".join(t.name for t in near)
    usual = find_gpu_type(text)
    speed = f"; its speed is that of {usual.name}" if usual else ""
    return text, Fact(near[0].memory_bytes, f"usable by a process, the same for {names}{speed}")


def price_of(prices: Mapping[str, float], name: str) -> float | None:
    """Return the price of a GPU type: that of its name, else of another name of the same type."""
    if name in prices:
        return prices[name]
    meant = find_gpu_type(name)
    return next((p for n, p in prices.items() if meant and find_gpu_type(n) is meant), None)
