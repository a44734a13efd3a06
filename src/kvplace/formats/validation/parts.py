"""Parts: each field of a file stated once, for reading, for writing and for the JSON Schema.

A part is a pydantic model whose fields have the names of a class of `kvplace.core` or, where it
differs, the key of the file as their alias. The text below a field is what the JSON Schema says of
it (`Told`). The kind of a field, one of those in
`kvplace.formats.validation.fields`, says how a value is read, how it is written (`Written`), and
what stands for it in a plan file, which states exact numbers under names that hold the unit
(`Exact`).
"""

import ast
import dataclasses
import inspect
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from itertools import pairwise
from types import UnionType
from typing import (
    Annotated,
    Any,
    ClassVar,
    NamedTuple,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, create_model

from kvplace.core.columns import defaults_of
from kvplace.errors import InputError
from kvplace.formats.validation.values import refuse_value

F = TypeVar("F", bound=Callable[..., Any])
P = TypeVar("P", bound="Part")

MISSING: Any = object()
"""The default of a field that has none."""


class _Always:
    """Marks a field that is written even where it has its default."""


ALWAYS = _Always()


class Written(NamedTuple):
    """How a value of a kind is written; without it, as it stands."""

    write: Callable[[Any], Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Documented:
    """The JSON Schema of a kind; a part in it stands for its own, made when it is asked for."""

    schema: dict[str, Any]

    def __get_pydantic_json_schema__(self, _schema: Any, _handler: Any) -> dict[str, Any]:
        """Return the JSON Schema."""
        made: dict[str, Any] = _inlined(self.schema)
        return made


def _inlined(schema: Any) -> Any:
    """Return a JSON Schema with those of the parts in it."""
    if isinstance(schema, type):
        return schema.model_json_schema()  # type: ignore[attr-defined]  # a part
    if isinstance(schema, dict):
        return {key: _inlined(inner) for key, inner in schema.items()}
    return list(map(_inlined, schema)) if isinstance(schema, list) else schema


class Exact(NamedTuple):
    """The kind that stands for another one in a plan file."""

    kind: Any


PLAIN = frozenset((bool, int, float, str))
"""Types of which a value states itself."""


def cached(function: F) -> F:
    """Keep what a function returns; its types stay, which `functools.cache` forgets."""
    return cast("F", cache(function))


class Told:
    """A mapping of a file; its JSON Schema says of each field the text below it in the source."""

    __slots__ = ()
    same_as: ClassVar[type[Any] | None] = None
    """The class in the source that states the same; None for the class itself."""

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        """Return the JSON Schema."""
        made: dict[str, Any] = handler(schema)
        texts, told = _texts(cls.same_as or cls), handler.resolve_ref_schema(made)["properties"]
        for field in fields_of(cls).values():
            told[field.key] |= texts.get(field.name, {})
        return made


def _texts(kind: type[Any]) -> dict[str, dict[str, str]]:
    """Return what is below each field in the source of a class and of those that it is made of."""
    found: dict[str, dict[str, str]] = {}
    for base in reversed(kind.__mro__):
        if issubclass(base, Told) and base.__module__ != __name__:
            with suppress(OSError):  # a class that is made of data
                tree: Any = ast.parse(inspect.getsource(base)).body[0]
                for field, text in pairwise(tree.body):
                    if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
                        words = " ".join(ast.literal_eval(text.value).split())
                        found[ast.unparse(field.target)] = {"description": words}
    return found


class Part(Told, BaseModel):
    """One mapping of a file: known keys only, values taken as they stand."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, serialize_by_alias=True, defer_build=True
    )

    core: ClassVar[Callable[..., Any] | None] = None
    """What the part states, a class with the same fields; None where code of its own builds it."""

    def build(self) -> Any:
        """Return what the part states; what is None is left to the defaults of its class.

        Raises
        ------
        InputError
            The values contradict each other.
        """
        values = self.__dict__
        own = {
            name: value if type(value) in PLAIN else built(value)
            for name in self.model_fields_set | _without_default(type(self))
            if (value := values[name]) is not None
        }
        return type(self).core(**own)  # type: ignore[misc]  # seen as a method

    def checked(self) -> Any:
        """Return what the part states; values that contradict each other are refused."""
        try:
            return self.build()
        except InputError as error:
            refuse_value("; ".join(map(str, error.faults)))


@cached
def _without_default(part: type[Part]) -> frozenset[str]:
    """Return the fields of a part for which the class that it states has no default."""
    return frozenset(part.model_fields) - _core_defaults(part.core).keys()


def built(value: Any) -> Any:
    """Return what a value states: a part, or a mapping or a list of parts, or what is none."""
    if type(value) in PLAIN:
        return value
    if isinstance(value, Part):
        return value.build()
    if isinstance(value, dict):
        return {key: built(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return tuple(map(built, value))
    return value


class FieldOf(NamedTuple):
    """A field of a part or of a dataclass that states a mapping of a file.

    Parameters
    ----------
    name, key
        Its name in code and in the file.
    kind
        Its type with all annotations.
    default
        Value that is not written; `MISSING` where the field is required.
    examples
        How it may be written.
    """

    name: str
    key: str
    kind: Any
    default: Any
    examples: tuple[Any, ...]


@cached
def adapter(part: Any) -> TypeAdapter[Any]:
    """Return what validates a part or a dataclass."""
    return TypeAdapter(part)


@cached
def fields_of(part: type[Any]) -> Mapping[str, FieldOf]:
    """Return the fields of a part or of a dataclass by the key in the file."""
    kinds = get_type_hints(part, include_extras=True)
    if not issubclass(part, BaseModel):
        defaults = defaults_of(part)
        names = (field.name for field in dataclasses.fields(part))
        return {n: FieldOf(n, n, kinds[n], defaults.get(n, MISSING), ()) for n in names}
    found, defaults = dict[str, FieldOf](), _core_defaults(getattr(part, "core", None))
    for name, info in part.model_fields.items():
        key, always = info.alias or name, _marked(kinds[name]) or info.is_required()
        default = MISSING if always else defaults.get(name, info.get_default())
        found[key] = FieldOf(name, key, kinds[name], default, tuple(info.examples or ()))
    return found


@cached
def shell(part: type[P], lists: tuple[str, ...]) -> type[P]:
    """Return a part of which some fields take anything: they are validated entry by entry."""
    fields: dict[str, Any] = {name: (Any, part.model_fields[name]) for name in lists}
    return create_model(part.__name__, __base__=part, __doc__=part.__doc__, **fields)


@cached
def exact(part: type[Part]) -> type[Part]:
    """Return the part that states the same in a plan file.

    Its keys are the names of the fields, each kind is the exact one, and what is always written
    is required. A part that is the same in both is returned as it is.
    """
    kinds = get_type_hints(part, include_extras=True)
    fields: dict[str, Any] = {}
    same = True
    for name, info in part.model_fields.items():
        kind = _exact_kind(kinds[name])
        always = _marked(kinds[name])
        default = ... if always or info.is_required() else info.get_default()
        if isinstance(default, Part):
            default = exact(type(default)).model_construct(**dict(default))
        if default is not None and type(None) in get_args(kind):
            kind = Union[tuple(k for k in get_args(kind) if k is not type(None))]  # noqa: UP007 - made of a list of types
        same = same and kind == kinds[name] and not always and info.alias is None
        fields[name] = (kind, Field(default=default))
    if same:
        return part
    made: type[Part] = create_model(
        f"Plan{part.__name__}", __base__=Part, __doc__=part.__doc__, **fields
    )
    made.core, made.same_as = part.core, part
    return made


def _exact_kind(kind: Any) -> Any:
    """Return the kind that stands for another in a plan file."""
    if get_origin(kind) is Annotated:
        inner, *extras = get_args(kind)
        for extra in extras:
            if isinstance(extra, Exact):
                return extra.kind
        found = _exact_kind(inner)
        return kind if found == inner else found
    if get_origin(kind) in (Union, UnionType):
        return Union[tuple(_exact_kind(inner) for inner in get_args(kind))]  # noqa: UP007 - made of a list of types
    return exact(kind) if isinstance(kind, type) and issubclass(kind, Part) else kind


def _core_defaults(core: Any) -> Mapping[str, Any]:
    """Return the defaults of the class that a part states."""
    return defaults_of(core) if dataclasses.is_dataclass(core) else {}  # type: ignore[arg-type]  # seen as an object too


def _marked(kind: Any) -> bool:
    """Whether a field is written even where it has its default."""
    return any(isinstance(extra, _Always) for extra in getattr(kind, "__metadata__", ()))
