"""JSON Schemas of the file formats, from the code that reads them.

``python -m kvplace.formats.schemas DIRECTORY`` writes them there.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from kvplace.formats.fleet.schema import FleetPart
from kvplace.formats.observation import Observation
from kvplace.formats.plan.schema import PlanPart
from kvplace.formats.proposal import Proposal
from kvplace.formats.validation.parts import Part

HOME = "https://github.com/kvplace/kvplace/raw/main/schemas"
"""Where the schemas are published: with it each has a name of its own (``$id``)."""


def schema_files() -> dict[str, str]:
    """Return the text of each JSON Schema by its file name."""
    parts: dict[str, type[BaseModel]] = {
        "kvplace.fleet.v1.json": FleetPart,
        "kvplace.observation.v1.json": Observation,
        "kvplace.plan.v1.json": PlanPart,
        "kvplace.proposal.v1.json": Proposal,
    }
    return {name: _schema(name, part) for name, part in parts.items()}


def write_schemas(directory: str | Path) -> None:
    """Write the JSON Schemas to a directory."""
    for name, text in schema_files().items():
        (Path(directory) / name).write_text(text, encoding="utf-8")


def _schema(name: str, part: type[BaseModel]) -> str:
    """Return the JSON Schema of one format, named after its file."""
    for inner in _below(Part):  # the schema library writes a default by the class of it
        inner.model_rebuild()
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"{HOME}/{name}",
        **part.model_json_schema(by_alias=True),
    }
    return json.dumps(_without_wrong_examples(schema), indent=2, ensure_ascii=False) + "\n"


def _below(kind: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Yield every class that is derived from another one."""
    for inner in kind.__subclasses__():
        yield inner
        yield from _below(inner)


def _without_wrong_examples(schema: Any) -> Any:
    """Leave out examples of what is no text: they show YAML as it is written."""
    if isinstance(schema, list):
        return [_without_wrong_examples(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _without_wrong_examples(inner)
        for key, inner in schema.items()
        if key != "examples" or schema.get("type") == "string"
    }


if __name__ == "__main__":
    write_schemas(sys.argv[1])
