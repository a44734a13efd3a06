"""JSON Schemas as editors use them: where they are, and the comment that names one."""

from pathlib import Path


def schema_file(name: str) -> Path | None:
    """Return the JSON Schema of a format as it came with kvplace; None where it did not.

    Parameters
    ----------
    name
        Of the format, such as ``kvplace.fleet/v1``.
    """
    package = Path(__file__).parents[1]
    file = f"{name.replace('/', '.')}.json"
    places = (package / "schemas", package.parents[1] / "schemas")  # a wheel, a clone
    return next((place / file for place in places if (place / file).is_file()), None)


def editor_line(name: str) -> str:
    """Return the comment by which editors check a YAML file; empty without its schema.

    It is the form of the YAML language server, which most editors run. The schema is the one on
    this machine, so that no network is needed.
    """
    file = schema_file(name)
    return "" if file is None else f"yaml-language-server: $schema={file.as_uri()}"
