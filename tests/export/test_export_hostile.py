"""Names that want to break out: nothing clashes, nothing breaks out, every file parses."""

import subprocess
from pathlib import Path

import pytest
from exported import CHECKS, check_files, check_layout

from hostile import hostile_plan
from kvplace.errors import InputError
from kvplace.export.files import EXPORTS, files_for
from kvplace.export.layout import lay_out
from kvplace.export.names import check_text
from seeds import seeds

REFUSALS = (
    "ray.serve.llm runs vllm", "AIBrix gives every engine of a pool all its GPUs",
    "cannot be mounted", "want NOTE to differ", "gives both one launch.image",
    "AIBrix starts no engine",
)  # fmt: skip


def check_plan(seed):
    """Export one plan everywhere; return the runtimes that could not do what it asks."""
    problem, placement = hostile_plan(seed)
    check_layout(lay_out(problem, placement))
    refused = []
    for to in EXPORTS:
        try:
            files = files_for(problem, placement, to)
        except InputError as error:
            refused.append((to, str(error)))
            continue
        check_files(to, files, problem, placement)
    for to, message in refused:
        assert any(words in message for words in REFUSALS), (seed, to, message)
    return refused


def test_every_runtime_is_checked():
    assert CHECKS.keys() == EXPORTS.keys()


@pytest.mark.parametrize("first", seeds(3, 6))
def test_plans_with_hostile_names_are_exported_everywhere(first):
    for seed in range(20 * first, 20 * first + 20):
        refused = check_plan(seed)
        assert len(refused) < len(EXPORTS)


@pytest.mark.heavy
def test_ten_thousand_plans_with_hostile_names():
    for seed in range(10_000):
        check_plan(seed)


def test_bash_reads_every_word_as_it_was_meant(tmp_path):
    """The scripts are run with stand-ins for the engines that write down their arguments."""
    stand_in = tmp_path / "bin" / "vllm"
    stand_in.parent.mkdir()
    stand_in.write_text('#!/bin/bash\nprintf "%s\\0" "$@" >"$OUT/$$"\n')
    stand_in.chmod(0o755)
    (tmp_path / "bin" / "python3").symlink_to(stand_in)
    from exported import expected_words, without  # noqa: PLC0415

    for seed in range(25):
        problem, placement = hostile_plan(seed)
        layout = lay_out(problem, placement)
        expected = expected_words(layout)
        for host in layout.hosts:
            text = files_for(problem, placement, "shell")[f"start-{host.label}.sh"]
            out = tmp_path / f"{seed}-{host.label}"
            out.mkdir()
            lines = [line for line in text.split("\n") if not line.startswith("await ")]
            quick = "\n".join(lines).replace("set -euo", "set -uo")
            done = subprocess.run(
                ["bash", "-c", quick.replace('wait -n "${pids[@]}"', "wait")],
                cwd=out, check=False, capture_output=True, text=True, timeout=60,
                env={"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "OUT": str(out), "HF_TOKEN": "x"},
            )  # fmt: skip
            assert done.returncode == 1, done.stderr
            written = [p.read_bytes().decode().split("\0")[:-1] for p in out.iterdir()
                       if p.is_file()]  # fmt: skip
            assert len(written) == len(host.engines)
            for words in written:
                port = next(int(w[7:]) for w in words if w.startswith("--port="))
                wanted, memory = expected[host.label, port]
                assert without(words, memory) == wanted[1:]
    assert not Path("/tmp/kvplace-broke-out").exists()


@pytest.mark.parametrize("name", ["", "a\0b", "\ud800"])
def test_names_that_nothing_can_carry_are_refused(name):
    with pytest.raises(InputError, match=r"launched under|command line|Unicode"):
        check_text(name, "a name")
