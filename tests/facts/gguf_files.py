"""Writes GGUF headers as llama.cpp does: key-value pairs, no tensors."""

import struct
from pathlib import Path


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def value(given) -> bytes:
    if isinstance(given, str):
        return struct.pack("<I", 8) + text(given)
    if isinstance(given, bool):
        return struct.pack("<I?", 7, given)
    if isinstance(given, int):
        return struct.pack("<II", 4, given)
    if isinstance(given, float):
        return struct.pack("<If", 6, given)
    inner = given or [0]
    if isinstance(inner[0], str):
        return struct.pack("<IIQ", 9, 8, len(given)) + b"".join(text(word) for word in given)
    form, kind = ("?", 7) if isinstance(inner[0], bool) else ("i", 5)
    return struct.pack(f"<IIQ{len(given)}{form}", 9, kind, len(given), *given)


def write_gguf(path: Path, pairs: dict, size: int = 1000) -> Path:
    head = b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs))
    body = b"".join(text(key) + value(given) for key, given in pairs.items())
    path.write_bytes((head + body).ljust(size, b"\0"))
    return path
