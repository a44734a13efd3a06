"""Files of others, as plain data: YAML or JSON, within bounds, and safe ways into them."""

import errno
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from kvplace.errors import Fault, InputError

_MOST_VALUES = 500_000
_DEEPEST = 200


_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml where it was built in


class _Loader(_Safe):  # type: ignore[misc]  # one of two classes
    """Plain data only; dates stay texts, and the tags of compose (``!reset``) are known."""

    def fetch_flow_collection_start(self, TokenClass: Any) -> None:  # noqa: N803 - the library's
        """Refuse what is nested too deeply at once: reading takes the square of the depth.

        libyaml does so itself.
        """
        if self.flow_level > _DEEPEST:
            raise RecursionError
        super().fetch_flow_collection_start(TokenClass)


_Loader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _reset(loader: yaml.SafeLoader, node: yaml.Node) -> None:
    """Return nothing for a value that an override takes back."""
    del loader, node


def _override(loader: yaml.SafeLoader, node: yaml.Node) -> Any:
    """Return the value that replaces another."""
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(node)  # type: ignore[arg-type]  # no other kind is left


_Loader.add_constructor("!reset", _reset)
_Loader.add_constructor("!override", _override)


def named_file(path: Path, most: int) -> bytes:
    """Return the beginning of a file that another one names.

    Raises
    ------
    OSError
        It cannot be read, or is a pipe or a device, of which no end may come.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise OSError(errno.EINVAL, "this is a pipe or a device, and no file", str(path))
    with path.open("rb") as stream:
        return stream.read(most)


def documents(text: str, source: str) -> list[Any]:
    """Return the documents of a YAML or JSON file.

    Raises
    ------
    InputError
        It is neither, or expands to more than half a million values.
    """
    try:
        if text.lstrip()[:1] in ("{", "["):
            try:
                parsed = [json.loads(text)]
            except ValueError:
                parsed = list(yaml.load_all(text, Loader=_Loader))
        else:
            parsed = list(yaml.load_all(text, Loader=_Loader))
        _bounded(parsed)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = min(mark.line, text.rstrip().count("\n")) + 1 if mark else None
        what = getattr(error, "problem", None) or "it is not YAML"
        if "{{" in text:
            what = f"{what}; it looks like a template: render it first, such as with helm template"
        raise InputError([Fault(str(what), "", line)], source) from error
    except RecursionError as error:
        raise InputError("it is nested too deeply", source) from error
    except (ValueError, TypeError, OverflowError, MemoryError) as error:
        raise InputError(f"it cannot be read: {str(error)[:200]}", source) from error
    return [document for document in parsed if document is not None]


def _bounded(parsed: Any) -> None:
    """Refuse what is small as text and endless as data: aliases of aliases, or of itself."""
    left, stack = _MOST_VALUES, [(parsed, 0)]
    while stack:
        value, depth = stack.pop()
        left -= 1
        if left < 0 or depth > _DEEPEST:
            raise ValueError("it expands to too many values, or is nested too deeply")
        if isinstance(value, dict):
            stack += [(entry, depth + 1) for entry in value.values()]
        elif isinstance(value, (list, tuple, set)):
            stack += [(entry, depth + 1) for entry in value]


def mapping(value: object) -> Mapping[str, Any]:
    """Return a mapping as it is, and an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def listed(value: object) -> list[Any]:
    """Return a list as it is, and an empty one for anything else."""
    return value if isinstance(value, list) else []


def at(value: object, *path: str) -> Any:
    """Return what is found along a path of keys, or None."""
    for key in path:
        value = mapping(value).get(key)
    return value


def texts(value: object) -> Iterator[str]:
    """Yield the scalars of a list as texts."""
    for entry in listed(value):
        if isinstance(entry, (str, int, float)) and not isinstance(entry, bool):
            yield str(entry)


def whole(value: object, otherwise: int, most: int = 4096) -> int:
    """Return a number from 0 to `most`, also one written as a text; else `otherwise`."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 6:
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most:
        return value
    return otherwise
