"""Objects as indented JSON text, column by column, as their part states them.

The text is that of ``json.dumps`` with an indent of 1. A field of all objects is written before the
next field: a plan of 100,000 models takes a fifth of the time that it takes object by object.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from functools import partial
from itertools import chain, compress, islice, repeat
from json.encoder import encode_basestring_ascii
from operator import add
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic_core import to_json

from kvplace.core.columns import Columns, Grouped, column_of
from kvplace.formats.validation.parts import MISSING, Part, Written, cached, fields_of

_POSITIONAL = 1e-4, 1e16
"""Numbers from and below which are written without an exponent."""
_SCALARS = json.JSONEncoder(separators=("\n", ": "), allow_nan=False)
AT_ONCE = 1_000
"""Entries of a list that are written together."""

_Texts = Callable[[Sequence[Any], str], list[str]]
"""Returns the texts of values, of which a line break and some spaces start each further line."""


def json_text(part: type[Any], value: object) -> str:
    """Return an object as lines of JSON, key by key as a part states it, without defaults.

    The object has attributes of the names that the part's fields have.

    Raises
    ------
    ValueError
        A number is not finite.
    TypeError
        Something in it has no form in JSON.
    """
    return "".join(json_pieces(part, value))


def json_pieces(part: type[Any], value: object) -> Iterator[str]:
    """Yield what `json_text` returns piece by piece: of long lists some entries at a time."""
    before, line = "{", "\n "
    for field in fields_of(part).values():
        given = getattr(value, field.name)
        if not _stated_rows([given], field.default):
            continue
        yield f"{before}{line}{encode_basestring_ascii(field.key)}: "
        before, write = ",", _of_kind(field.kind)
        if get_origin(field.kind) is not tuple or len(given) <= AT_ONCE:
            yield write([given], line)[0]
            continue
        opened = "["
        for some in _some_at_a_time(get_args(field.kind)[0], given):
            text = write([some], line)[0]
            yield opened + text[1 : -1 - len(line)]
            opened = ","
        yield f"{line}]"
    yield "\n}\n" if before == "," else "{}\n"


def _some_at_a_time(kind: Any, values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Yield some values of a list at a time; of objects, each column is made once for all."""
    if _is_part(kind):
        columns = {one.name: column_of(values, one.name) for one in fields_of(kind).values()}
        values = Columns(kind, columns)
    for first in range(0, len(values), AT_ONCE):
        yield values[first : first + AT_ONCE]


def stated(part: type[Any], value: object) -> dict[str, Any]:
    """Return an object as the plain data that its JSON holds."""
    return stated_all(part, [value])[0]


def stated_all(part: type[Any], values: Sequence[object]) -> list[dict[str, Any]]:
    """Return several objects as the plain data that their JSON holds."""
    texts = _of_parts(part)(values, "")
    found: list[dict[str, Any]] = json.loads(f"[{','.join(texts)}]")
    return found


@cached
def _of_parts(part: type[Any]) -> _Texts:
    """Return what writes objects of one part."""
    fields = [(field, _of_kind(field.kind)) for field in fields_of(part).values()]

    def texts(values: Sequence[Any], line: str) -> list[str]:
        inner = line + " "
        keys: list[str] = []
        columns: list[list[str]] = []
        gaps: list[bool] = []
        for field, write in fields:
            column = column_of(values, field.name)
            rows = _stated_rows(column, field.default)
            if not rows:
                continue
            key = f"{encode_basestring_ascii(field.key)}: "
            gaps.append(len(rows) < len(column))
            keys.append("" if gaps[-1] else key)
            if not gaps[-1]:
                columns.append(write(column, inner))
                continue
            found = [""] * len(column)
            for row, text in zip(rows, write([column[row] for row in rows], inner), strict=True):
                found[row] = key + text
            columns.append(found)
        if not keys:
            return ["{}"] * len(values)
        if gaps[0]:
            contents = (
                f",{inner}".join(map(add, compress(keys, row), compress(row, row)))
                for row in zip(*columns, strict=True)
            )
            return _enclosed("{}", contents, line)
        # What is left out brings its comma along where it is there.
        for at in (at for at, left_out in enumerate(gaps) if left_out):
            columns[at] = [text and f",{inner}{text}" for text in columns[at]]
        parts: list[Iterable[str]] = []
        before = "{" + inner
        for key, column, left_out in zip(keys, columns, gaps, strict=True):
            parts += [column] if left_out else [repeat(before + key), column]
            before = f",{inner}"
        return list(map("".join, zip(*parts, repeat(line + "}"), strict=False)))

    return texts


def _stated_rows(column: Sequence[Any], default: Any) -> Sequence[int]:
    """Return the rows of a column that are written: all but those with the default."""
    if default is MISSING:
        return range(len(column))
    left_out = column.count(default)  # faster than a loop
    if left_out < len(column) and default is not None:
        left_out += column.count(None)
    if left_out in (0, len(column)):
        return range(len(column) - left_out)
    return [row for row, given in enumerate(column) if given is not None and given != default]


def _enclosed(marks: str, contents: Iterable[str], line: str) -> list[str]:
    """Return contents between two marks, each on lines of their own; empty ones on none."""
    first, last = f"{marks[0]}{line} ", f"{line}{marks[1]}"
    return [first + content + last if content else marks for content in contents]


def _of_kind(kind: Any) -> _Texts:
    """Return what writes values of a kind."""
    origin, held = get_origin(kind), get_args(kind)
    if origin is Annotated:
        write = next((extra.write for extra in held[1:] if isinstance(extra, Written)), None)
        return _of_kind(held[0]) if write is None else partial(_written, write)
    if origin in (Union, UnionType):
        kinds = [inner for inner in held if inner is not type(None)]
        return partial(_unless_none, _of_kind(kinds[0])) if len(kinds) == 1 else _plain
    if origin in (tuple, list):
        return partial(_lists, _of_kind(held[0]))
    if origin is dict:
        return partial(_mappings, _of_kind(held[1]))
    return _of_parts(kind) if _is_part(kind) else _plain


def _is_part(kind: Any) -> bool:
    """Whether a kind is a mapping whose keys are stated."""
    return isinstance(kind, type) and (issubclass(kind, Part) or is_dataclass(kind))


def _written(write: Callable[[Any], Any], values: Sequence[Any], line: str) -> list[str]:
    """Return values that something turns into plain data, None as it stands."""
    return _plain([None if value is None else write(value) for value in values], line)


def _unless_none(write: _Texts, values: Sequence[Any], line: str) -> list[str]:
    """Return values some of which may be None."""
    if not values.count(None):
        return write(values, line)
    texts = iter(write([value for value in values if value is not None], line))
    return ["null" if value is None else next(texts) for value in values]


def _lists(write: _Texts, values: Sequence[Any], line: str) -> list[str]:
    """Return lists, all that they hold written together."""
    inner = line + " "
    if isinstance(values, Grouped):
        texts = write(values.members, inner)
        return _enclosed("[]", _grouped(texts, values.counts, inner), line)
    flat = values[0] if len(values) == 1 else list(chain.from_iterable(values))
    return _enclosed("[]", _grouped(write(flat, inner), list(map(len, values)), inner), line)


def _mappings(write: _Texts, values: Sequence[Mapping[str, Any]], line: str) -> list[str]:
    """Return mappings, all values that they hold written together."""
    inner = line + " "
    keys = map(encode_basestring_ascii, chain.from_iterable(values))
    texts = write([held for value in values for held in value.values()], inner)
    entries = map(": ".join, zip(keys, texts, strict=True))
    return _enclosed("{}", _grouped(list(entries), list(map(len, values)), inner), line)


def _grouped(texts: Sequence[str], counts: Sequence[int], line: str) -> Iterable[str]:
    """Return as many texts at a time as are counted, each on a line of its own."""
    if counts.count(1) == len(counts):
        return texts
    separator, each = f",{line}", iter(texts)
    return (separator.join(islice(each, count)) for count in counts)


def _plain(values: Sequence[Any], line: str) -> list[str]:
    """Return plain data; all scalars, all lists and all mappings are written together."""
    kinds = set(map(type, values))
    if kinds == {float} and all(map(math.isfinite, values)):
        return _floats(values)
    if kinds.isdisjoint((list, tuple, dict)):
        return _SCALARS.encode(list(values))[1:-1].split("\n") if values else []
    if kinds == {dict}:
        return _mappings(_plain, values, line)
    if kinds <= {list, tuple}:
        return _lists(_plain, values, line)
    held = [kind if kind in {list, tuple, dict} else None for kind in map(type, values)]
    alike = {kind: list(compress(values, [other is kind for other in held])) for kind in set(held)}
    texts = {kind: iter(_plain(found, line)) for kind, found in alike.items()}
    return [next(texts[kind]) for kind in held]


def _floats(values: Sequence[float]) -> list[str]:
    """Return finite numbers as the standard library writes them, in a quarter of the time."""
    texts = to_json(list(values))[1:-1].decode().split(",")
    least, most = _POSITIONAL
    for row, value in enumerate(values):
        if not least <= value < most:  # the schema library writes no exponent, or another
            texts[row] = float.__repr__(value)
    return texts
