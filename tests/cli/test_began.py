"""When a command began: the first one with its process, another one when it is called."""

from types import SimpleNamespace

from kvplace.cli import began


def test_only_the_first_command_of_a_process_began_with_it(monkeypatch):
    monkeypatch.setattr(began, "time", SimpleNamespace(perf_counter=lambda: 100.0))
    monkeypatch.setattr(began.Command, "began", 99.9)
    monkeypatch.setattr(began.Command, "_first", True)
    began.Command.begin(of_process=True)
    assert began.Command.began == 99.9
    began.Command.begin(of_process=True)
    assert began.Command.began == 100.0
