"""Cells that a spreadsheet would run as a formula, kept from it and given back.

A text that begins with one of these signs gets an apostrophe before it, which spreadsheets do not
show. Advice: https://owasp.org/www-community/attacks/CSV_Injection.
"""

_SIGNS = frozenset("=+-@\t\r")
_BEGIN = _SIGNS | {"'"}


def safe_cell(text: str) -> str:
    """Return a text as it may stand in a CSV; `plain_cell` gives it back."""
    marked = text[:1] == "'" and text[1:2] in _BEGIN
    return f"'{text}" if text[:1] in _SIGNS or marked else text


def plain_cell(text: str) -> str:
    """Return the text that a cell of a CSV stands for."""
    return text[1:] if text[:1] == "'" and text[1:2] in _BEGIN else text
