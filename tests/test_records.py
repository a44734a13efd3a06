"""Frozen classes made quickly behave as those of the standard library."""

import copy
import dataclasses
import inspect
import pickle
from collections.abc import Mapping
from dataclasses import field

import pytest

from kvplace import records


def point(dataclass):
    @dataclass(frozen=True, slots=True)
    class Point:
        """A point."""

        x: int
        y: float = 2.0
        names: Mapping[str, int] = field(default_factory=dict, hash=False)
        note: str = field(default="", repr=False, compare=False)
        sum: float = field(init=False, compare=False, repr=False)

        def __post_init__(self):
            object.__setattr__(self, "sum", self.x + self.y)

    return Point


BOTH = pytest.mark.parametrize("dataclass", [records.dataclass, dataclasses.dataclass])


@dataclasses.dataclass
class _Seen:
    text: str
    equal: tuple
    hashes: tuple
    replaced: str
    fields: list
    matched: tuple
    signature: list


def seen(made):
    a, b = made(1), made(1, note="other")
    other = made(1, 3.0, {"a": 1})
    return _Seen(
        text=repr(other).rpartition(".")[2],
        equal=(a == b, a == other, a == 1, a != b),
        hashes=(hash(a) == hash(b), hash(other) == hash(made(1, 3.0)), hash(a) == hash((1, 2.0))),
        replaced=repr(dataclasses.replace(other, x=5)).rpartition(".")[2],
        fields=[f.name for f in dataclasses.fields(made)],
        matched=made.__match_args__,
        signature=[
            (p.name, p.kind, p.annotation) for p in inspect.signature(made).parameters.values()
        ],
    )


def test_everything_that_is_seen_of_a_class_is_as_in_the_standard_library():
    quick, standard = point(records.dataclass), point(dataclasses.dataclass)
    assert seen(quick) == seen(standard)
    assert quick(1).sum == 3.0
    assert quick(1).names is not quick(1).names
    assert not hasattr(quick(1), "__dict__")


@BOTH
def test_what_is_frozen_stays(dataclass):
    one = point(dataclass)(1)
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'x'"):
        one.x = 2
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot delete field 'x'"):
        del one.x


@BOTH
@pytest.mark.parametrize("arguments", [((), {}), ((1,), {"z": 1}), ((1, 2, {}, "", 3), {})])
def test_wrong_arguments_are_type_errors(dataclass, arguments):
    with pytest.raises(TypeError, match=r"Point\.__init__\(\)"):
        point(dataclass)(*arguments[0], **arguments[1])


@BOTH
def test_a_class_that_inherits_takes_the_fields_of_both(dataclass):
    @dataclass(frozen=True, slots=True)
    class Base:
        """A base."""

        a: int = 1

        def told(self):
            return self.a

    @dataclass(frozen=True, slots=True)
    class Derived(Base):
        """One that inherits."""

        b: int = 2

    assert Derived(3).told() == 3
    assert repr(Derived(3)).endswith("Derived(a=3, b=2)")
    assert Derived(3) != Base(3)


@BOTH
def test_what_a_class_defines_itself_stays(dataclass):
    @dataclass(frozen=True, slots=True)
    class Own:
        """One with methods of its own."""

        a: int

        def __repr__(self):
            return "own"

        def __eq__(self, other):
            return True

        def __hash__(self):
            return 7

    assert repr(Own(1)) == "own"
    assert Own(1) == Own(2)
    assert hash(Own(1)) == 7


@BOTH
def test_without_comparison_an_object_equals_itself_alone(dataclass):
    @dataclass(frozen=True, slots=True, eq=False)
    class Held:
        """Compared by identity."""

        a: int = 1

    one = Held()
    assert one == one
    assert one != Held()
    assert len({one, Held()}) == 2


@records.dataclass(frozen=True, slots=True)
class Kept:
    """One that is written and read."""

    a: int
    b: tuple = ()


@records.dataclass(frozen=True)
class Open:
    """One without slots."""

    a: int


@records.dataclass(slots=True)
class Changing:
    """One that is not frozen."""

    a: int


@pytest.mark.parametrize("value", [Kept(1, (2,)), Open(1), Changing(1)])
def test_values_are_copied_and_pickled(value):
    assert pickle.loads(pickle.dumps(value)) == value
    assert copy.copy(value) == value
    assert copy.deepcopy(value) == value


def test_what_is_not_frozen_is_left_to_the_standard_library():
    one = Changing(1)
    one.a = 2
    assert one == Changing(2)
    with pytest.raises(TypeError):
        hash(one)


def test_a_class_without_fields_is_made():
    @records.dataclass(frozen=True)
    class Empty:
        """Nothing."""

    assert Empty() == Empty()
    assert hash(Empty()) == hash(Empty())
