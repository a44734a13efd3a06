"""Bytes of weights, from what the weight files say of themselves.

A safetensors file opens with eight bytes, the length of a JSON header, and the header gives the
place of every tensor; so the bytes are known without reading a tensor.
Format: https://huggingface.co/docs/safetensors, section "Format".
"""

import json
import math
from pathlib import Path
from typing import Any

from kvplace.core.fact import Fact
from kvplace.errors import Fault, InputError
from kvplace.facts.checkpoint.gguf import gguf_parts
from kvplace.facts.checkpoint.json_object import read_object
from kvplace.facts.checkpoint.paths import is_file
from kvplace.units import MAX_BYTES

INDEX = "model.safetensors.index.json"
"""Lists the tensors of a checkpoint of several files, and their total size."""

_BITS = {
    "F64": 64, "I64": 64, "U64": 64, "C64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16,
    "BF16": 16, "I16": 16, "U16": 16, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "I8": 8, "U8": 8,
    "BOOL": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}  # fmt: skip
"""Bits of an element of each type of the format; of others only the places are believed."""

_MOST_AXES = 64  # as numpy allows
_LONGEST_HEADER = 100 * 2**20  # the format's own limit


def local_weights(directory: Path) -> Fact[int]:
    """Return the bytes of weights of a checkpoint directory.

    Headers are believed first, then the index, then the sizes of GGUF or PyTorch files.

    Raises
    ------
    InputError
        There is no weight file, or a header is damaged: every damaged file at once.
    """
    index = directory / INDEX
    if index.is_file():
        listed = read_object(index)
        named = _files_named(listed, str(index))
        if named and all(is_file(directory / name) for name in named):
            return _from_headers([directory / name for name in named], index.name)
        return index_total(listed, str(index))
    files = sorted(directory.glob("model*.safetensors")) or sorted(directory.glob("*.safetensors"))
    if files:
        return _from_headers(files, "")
    kinds = {
        "GGUF": gguf_parts(directory),
        "PyTorch": sorted(directory.glob("pytorch_model*.bin"))
        or sorted(directory.glob("consolidated*.pth")),
    }
    for kind, files in kinds.items():
        if files:
            return file_sizes(files, kind)
    raise InputError(
        f"no weight file here (looked for {INDEX}, *.safetensors, *.gguf, pytorch_model*.bin, "
        "consolidated*.pth), so the bytes of weights are not known; the index of a checkpoint in "
        "several files is enough",
        str(directory),
    )


def file_sizes(files: list[Path], kind: str) -> Fact[int]:
    """Return the bytes of weight files that do not say how long their tensors are."""
    size = sum(file.stat().st_size for file in files)
    return Fact(size, f"size of {len(files)} {kind} file{'s' * (len(files) > 1)}")


def index_total(index: dict[str, Any], source: str) -> Fact[int]:
    """Return the total size that a parsed index states.

    Raises
    ------
    InputError
        It states none.
    """
    metadata = index.get("metadata")
    total = metadata.get("total_size") if isinstance(metadata, dict) else None
    if isinstance(total, float) and total.is_integer():
        total = int(total)
    if not isinstance(total, int) or isinstance(total, bool) or not 0 < total <= MAX_BYTES:
        total = total if not isinstance(total, int) or total.bit_length() < 128 else "a huge number"
        raise InputError([Fault(f"{total!r} is no size in bytes", "metadata.total_size")], source)
    return Fact(total, f"metadata.total_size of {INDEX}")


def single_file(path: Path) -> Fact[int]:
    """Return the bytes of the tensors of one safetensors file.

    Raises
    ------
    InputError
        Its header is damaged.
    """
    return _from_headers([path], "")


def _files_named(index: dict[str, Any], source: str) -> list[str]:
    """Return the weight files that an index names, each once."""
    places = index.get("weight_map") or {}
    if not isinstance(places, dict) or not all(isinstance(v, str) for v in places.values()):
        fault = Fault("it must be a mapping from tensors to names of files", "weight_map")
        raise InputError([fault], source)
    return sorted(set(places.values()))


def _from_headers(files: list[Path], index: str) -> Fact[int]:
    """Add up the tensors of safetensors files."""
    total, tensors = 0, 0
    faults: list[Fault] = []
    for file in files:
        try:
            sizes = _tensor_sizes(file)
        except OSError as error:
            faults.append(Fault(error.strerror or "it cannot be read", file.name))
            continue
        except (ValueError, KeyError, TypeError, IndexError, RecursionError, MemoryError) as error:
            faults.append(Fault(f"damaged safetensors header: {error}", file.name))
            continue
        total += sum(sizes)
        tensors += len(sizes)
    if not total and not faults:
        faults.append(
            Fault("the safetensors header lists no tensor that takes a byte", files[0].name)
        )
    if faults:
        raise InputError(faults, str(files[0].parent))
    where = f" named by {index}" if index else ""
    count = f"{len(files)} safetensors header{'s' * (len(files) > 1)}"
    return Fact(total, f"{tensors:,} tensors in {count}{where}")


def _tensor_sizes(file: Path) -> list[int]:
    """Return the bytes of every tensor in a file; `ValueError` where the header is damaged."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 2 <= length <= _LONGEST_HEADER:
            raise ValueError(f"a header of {length} bytes")
        header = json.loads(stream.read(length))
    if not isinstance(header, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 - caught with the others
    size = file.stat().st_size
    tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
    ends = [(entry["data_offsets"][0], entry["data_offsets"][1]) for entry in tensors.values()]
    if not all(type(begin) is int and type(end) is int for begin, end in ends):
        raise ValueError("a place that is no whole number")
    if any(not 0 <= begin <= end for begin, end in ends):
        raise ValueError("a tensor ends before it begins")
    for (name, entry), (begin, end) in zip(tensors.items(), ends, strict=True):
        bits = _BITS.get(entry["dtype"])
        if len(entry["shape"]) > _MOST_AXES:
            raise ValueError(f"a tensor of {len(entry['shape'])} axes")
        if bits is not None and -(-math.prod(entry["shape"]) * bits // 8) != end - begin:
            what = f"{name[:80]!r}, {entry['dtype']} of shape {entry['shape']}"
            raise ValueError(f"{what}, has {end - begin} bytes"[:300])
    if sum(end - begin for begin, end in ends) > max((end for _, end in ends), default=0):
        raise ValueError("two tensors share bytes")
    need = 8 + length + max((end for _, end in ends), default=0)
    if size < need:
        raise ValueError(f"the file has {size} bytes where its tensors need {need}")
    if need > MAX_BYTES:
        raise ValueError("it states more than 1 PiB")
    return [end - begin for begin, end in ends]
