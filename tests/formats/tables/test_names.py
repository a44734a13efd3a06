"""Names in a column of a table."""

import pytest

from kvplace.formats.validation.values import sound


@pytest.mark.parametrize("text", [None, "", " a", "a ", "a\n", "a\x00b", "\u202ea", "a" * 257])
def test_what_a_file_may_not_hold_is_never_waved_through(text):
    assert not sound(text)


def test_plain_names_are_sound():
    assert all(map(sound, ["Qwen/Qwen3-8B", "gpt-oss 20b", "é"]))
