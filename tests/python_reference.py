"""Writes docs/reference/python.md from the docstrings of the public names.

::

    python tests/python_reference.py
"""

import enum
import inspect
import logging
import re
from pathlib import Path

from griffe import Docstring, Parser

import kvplace

PAGE = Path(__file__).parents[1] / "docs/reference/python.md"
HEAD = """# Python reference

Every public name of `kvplace`, from its docstring. Each is imported on its first use, so
`import kvplace` loads nothing heavy. Made by `python tests/python_reference.py`.

"""


def reference():
    """Return the page."""
    logging.getLogger("griffe").setLevel(logging.ERROR)  # types stand in signatures
    names = sorted(kvplace.__all__, key=lambda name: (name[0].isupper(), name.lower()))
    kinds = {name: inspect.isfunction(getattr(kvplace, name)) for name in names}
    functions = [name for name in names if kinds[name]]
    classes = [name for name in names if not kinds[name]]
    links = [
        f"{title}: " + ", ".join(f"[`{name}`](#{name.lower()})" for name in some) + ".\n"
        for title, some in (("Functions", functions), ("Classes", classes))
    ]
    return HEAD + "\n".join(links) + "".join(map(entry, [*functions, *classes]))


def entry(name):
    """Return the section of one name."""
    public = getattr(kvplace, name)
    text = inspect.getdoc(public) or ""
    lines = [f"\n## {name}\n"]
    if inspect.isfunction(public):
        lines.append(f"```python\n{name}{signature(public)}\n```\n")
    for section in Docstring(text, parser=Parser.numpy).parse():
        lines += rendered(section)
    if hasattr(public, "model_json_schema"):
        lines.append("**Fields**\n")
        for key, told in public.model_json_schema()["properties"].items():
            lines.append(f"- `{key}`: {told.get('description', '')}".removesuffix(": "))
        lines.append("")
    if inspect.isclass(public) and issubclass(public, enum.Enum):
        lines.append("Members: " + ", ".join(f"`{member.value}`" for member in public) + ".\n")
    elif inspect.isclass(public):
        for key, value in vars(public).items():
            if isinstance(value, property) and not key.startswith("_") and value.__doc__:
                lines.append(f"- `.{key}`: {flat(value.__doc__)}")
            elif inspect.isfunction(value) and not key.startswith("_") and value.__doc__:
                lines.append(f"- `.{key}{signature(value)}`: {flat(value.__doc__)}")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def signature(function):
    """Return the signature without `self`, and without the homes and the quotes of types."""
    told, parts = inspect.signature(function), []
    for name, one in told.parameters.items():
        if name == "self":
            continue
        if one.kind is one.KEYWORD_ONLY and "*" not in parts:
            parts.append("*")
        held = one.default.value if isinstance(one.default, enum.Enum) else one.default
        given = "" if held is one.empty else f" = {held!r}"
        parts.append(plain(str(one.replace(default=one.empty))) + given)
    returned = plain(str(told.replace(parameters=[]))).removeprefix("()")
    return f"({', '.join(parts)}){returned}"


def plain(text):
    """Return types without their homes and quotes."""
    return re.sub(r"(?:[a-z_]+\.)+([A-Z])", r"\1", text).replace("'", "")


def rendered(section):
    """Yield the Markdown of one section of a docstring."""
    kind, value = section.kind.value, section.value
    if kind == "text":
        yield f"{marked(value)}\n"
    elif kind in {"parameters", "attributes", "other parameters"}:
        yield f"**{kind.capitalize()}**\n"
        yield from (f"- `{item.name}`: {flat(item.description)}" for item in value)
        yield ""
    elif kind in {"returns", "yields", "raises"}:
        yield f"**{kind.capitalize()}**\n"
        for item in value:
            of = getattr(item, "annotation", None) or getattr(item, "name", "")
            start = f"- `{of}`: " if str(of) else "- "
            yield start + flat(item.description)
        yield ""


def marked(text):
    """Turn reStructuredText code marks into those of Markdown."""
    return re.sub(r"``(.+?)``", r"`\1`", text.strip())


def flat(text):
    """Return the first paragraph in one line."""
    return " ".join(marked(text).split("\n\n")[0].split())


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
