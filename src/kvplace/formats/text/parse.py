"""Text of a file to plain data, by the ending of its name."""

from pathlib import PurePath

from kvplace.formats.text.tree import Tree

__all__ = ["parse_tree"]


def parse_tree(text: str, source: str) -> Tree:
    """Read plain data from JSON where the name ends in ``.json``, else from YAML."""
    if PurePath(source).suffix.lower() == ".json":
        from kvplace.formats.text.json_tree import parse_json  # noqa: PLC0415 - only for JSON

        return parse_json(text)
    from kvplace.formats.text.yaml_tree import parse_yaml  # noqa: PLC0415 - only for YAML

    return parse_yaml(text)
