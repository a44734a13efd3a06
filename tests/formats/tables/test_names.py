"""Names in a column: at once where it is plain to see, one by one else."""

import pytest

from kvplace.formats.tables.names import SHORT_NAME, all_sound, sound


@pytest.mark.parametrize("text", [None, "", " a", "a ", "a\n", "a\x00b", "\u202ea"])
def test_what_a_file_may_not_hold_is_never_waved_through(text):
    assert not all_sound(["fine", text])
    assert not sound(text)


def test_plain_names_are_sound_at_once():
    assert all_sound(["Qwen/Qwen3-8B", "gpt-oss 20b", "é"])
    assert all_sound([])
    assert all(map(sound, ["Qwen/Qwen3-8B", "gpt-oss 20b", "é"]))


def test_a_long_name_is_looked_at_by_itself():
    assert not all_sound(["a" * (SHORT_NAME + 1)])
