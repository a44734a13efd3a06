"""The catalogue of GPU types: what a process can allocate on each, with its source."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from kvplace.core.fact import Fact
from kvplace.errors import InputError
from kvplace.facts.catalogue.tables import gibibytes, number, read_tables
from kvplace.units import format_bytes, parse_bytes

__all__ = ["GPUType", "gpu_kind", "gpu_type", "gpu_types"]


@dataclass(frozen=True, slots=True)
class GPUType:
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
    )


def gpu_type(name: str) -> GPUType:
    """Return the GPU type of that name; upper and lower case are one.

    Raises
    ------
    InputError
        The catalogue has no such type; the nearest is named.
    """
    types = gpu_types()
    folded = {known.casefold(): known for known in types}
    known = folded.get(name.casefold())
    if known is not None:
        return types[known]
    shown = repr(name if len(name) <= 60 else name[:59] + "…")
    asked = name[:60].casefold()
    close = [folded[known] for known in folded if len(asked) > 1 and known.startswith(asked)]
    if not close:
        close = [folded[n] for n in difflib.get_close_matches(asked, folded, n=1, cutoff=0.5)]
    hint = (
        f"did you mean {' or '.join(map(repr, close))}" if close else f"known: {', '.join(types)}"
    )
    raise InputError(f"{shown} is no GPU type of the catalogue; {hint}")


def gpu_kind(text: str) -> tuple[str, Fact[int]]:
    """Return name and usable memory of a GPU type: a name, the begin of one, or bare memory.

    Parameters
    ----------
    text
        Such as ``H100-SXM-80GB``, ``H100`` or ``80GiB``. A begin that fits several types is taken
        only where all of them have the same memory; the begin is then the name.

    Raises
    ------
    InputError
        There is no such type or memory, or the begin fits types of different memory.
    """
    if text[0].isdigit() or text[0] in ".+-":
        return text, Fact(parse_bytes(text), "as given")
    types = gpu_types()
    exact = {name.casefold() for name in types}
    near = [t for name, t in types.items() if name.casefold().startswith(text.casefold() + "-")]
    if text.casefold() in exact or len(near) < 2:
        found = gpu_type(near[0].name if near and text.casefold() not in exact else text)
        return found.name, Fact(found.memory_bytes, f"usable by a process: {found.source}")
    if len({t.memory_bytes for t in near}) > 1:
        choices = ", ".join(f"{t.name} ({format_bytes(t.memory_bytes)})" for t in near)
        raise InputError(f"{text!r} could be {choices}; name one")
    names = " and ".join(t.name for t in near)
    return text, Fact(near[0].memory_bytes, f"usable by a process, the same for {names}")
