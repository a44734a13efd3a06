"""A file of another kind is named as what it is, in one line."""

from pathlib import Path

import pytest

from kvplace.cli.main import main
from kvplace.errors import InputError
from kvplace.formats.text.document import refuse_other_kind

EXAMPLE = str(Path(__file__).parents[2] / "examples/open-models.yaml")
SPREADSHEET = str(Path(__file__).parents[2] / "examples/models.csv")


@pytest.mark.parametrize(
    "text",
    [
        "schema: kvplace.plan/v1\n",
        '{"schema": "kvplace.plan/v1"}',
        "# a\nschema: 'kvplace.plan/v1'",
        '{\n "schema": "kvplace.plan/v2",',
    ],
)
def test_a_plan_is_known_by_its_schema(text):
    with pytest.raises(InputError, match="this is a plan, and a fleet file is wanted"):
        refuse_other_kind(text, "fleet", "x")
    refuse_other_kind(text, "plan", "x")


def test_what_names_no_kind_is_left_to_its_reader():
    refuse_other_kind("models: []", "fleet", "x")
    refuse_other_kind("schema: other/v1", "fleet", "x")


def test_each_verb_says_it_in_one_line(tmp_path, capsys):
    plan = str(tmp_path / "plan.json")
    assert main(["plan", SPREADSHEET, "--gpus", "2x80GiB", "-q", "-o", plan]) == 0
    capsys.readouterr()
    for arguments in (
        ["plan", plan], ["check", EXAMPLE, EXAMPLE], ["diff", EXAMPLE, plan],
        ["export", EXAMPLE, "--to", "compose", "-o", str(tmp_path / "x")],
        ["verify", plan, "--observed", plan],
    ):  # fmt: skip
        assert main(arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "is wanted" in line


def test_the_name_of_the_output_decides_its_form(tmp_path):
    for name, first in (("a.json", "{"), ("a.csv", "model,"), ("a.txt", "model ")):
        target = tmp_path / name
        main(["plan", SPREADSHEET, "--gpus", "2x80GiB", "-q", "-o", str(target)])
        assert target.read_text().startswith(first)


def test_init_never_writes_over_a_file_unasked(tmp_path, capsys):
    target = tmp_path / "fleet.yaml"
    target.write_text("mine")
    command = ["init", "--models", "Qwen/Qwen3-8B", "--nodes", "1x8xH100", "-o", str(target)]
    assert main(command) == 2
    assert "--force writes over it" in capsys.readouterr().err
    assert target.read_text() == "mine"
    assert main([*command, "--force"]) == 0
    assert "Qwen/Qwen3-8B" in target.read_text()


def test_a_table_of_another_kind_is_named_as_what_it_is(tmp_path, capsys):
    plan = tmp_path / "plan.csv"
    plan.write_text("model,replica,shard,node,gpu,weights_bytes,load\na,0,0,n,n/0,5,1\n")
    assert main(["plan", str(plan), "--gpus", "2x80GiB"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "line 1: this is a plan, a row per shard; kvplace check" in line
    assert main(["check", EXAMPLE, SPREADSHEET]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "this is a table of models; kvplace plan takes it, with --gpus" in line
