"""The shipped catalogue is complete, and a user's own rows go over it."""

import csv
from pathlib import Path

import pytest

from kvplace.errors import InputError
from kvplace.facts.catalogue.gpus import gpu_type, gpu_types
from kvplace.facts.catalogue.models import known_model, known_models
from kvplace.facts.find import find_facts

TABLE = Path(__file__).parents[2].parent / "shared/data/models.csv"


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.setenv("KVPLACE_CATALOGUE", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", ["none", "file"])
def test_a_directory_of_tables_that_is_none_is_not_passed_over(own, monkeypatch, name):
    (own / "file").write_text("")
    monkeypatch.setenv("KVPLACE_CATALOGUE", str(own / name))
    with pytest.raises(InputError, match="KVPLACE_CATALOGUE names no directory"):
        gpu_types()


def test_every_row_has_a_source():
    assert len(gpu_types()) >= 23
    assert len(known_models()) == 93
    assert all(gpu.source and gpu.source_specs for gpu in gpu_types().values())
    assert all(model.source for model in known_models().values())


def test_usable_memory_is_below_the_size_on_the_box():
    for gpu in gpu_types().values():
        # AMD prints GiB on the box, NVIDIA GB; no process can allocate more than either.
        assert gpu.memory_bytes <= gpu.box_gb * 2**30, gpu.name


@pytest.mark.skipif(not TABLE.is_file(), reason=f"the table of models is not at {TABLE}")
def test_the_catalogue_says_what_the_table_says():
    with TABLE.open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["is_native"] == "1"]
    for row in rows:
        model = known_models()[row["name"]]
        indexer = int(row["layers"]) * 132 if "DSA" in row["note"] else 0
        assert model.kv_bytes_per_token == int(row["kv_bytes_per_token_bf16"]) + indexer
        assert model.weights_bytes == pytest.approx(float(row["weight_gib"]) * 2**30, abs=1)


def test_known_models_answer_per_rank():
    llama = find_facts("meta-llama/llama-3.1-8b-instruct").layout
    assert [llama.bytes_per_token(d) for d in (1, 8, 16)] == [131072, 16384, 16384]
    deepseek = find_facts("deepseek-ai/DeepSeek-V3").layout
    assert [deepseek.bytes_per_token(d) for d in (1, 8)] == [70272, 70272]
    gemma = find_facts("google/gemma-3-27b-it", kv_dtype="fp8").layout
    assert gemma.bytes_per_token() == 507904 // 2
    assert gemma.bytes_held(2000) == 2000 * 81920 // 2 + 1024 * (507904 - 81920) // 2


def test_a_state_that_is_not_known_is_an_error_and_not_zero():
    assert known_model("Qwen/Qwen3.5-27B").kv_bytes_per_sequence is None
    with pytest.raises(InputError, match="does not know the state"):
        find_facts("Qwen/Qwen3.5-27B")


def test_a_name_that_is_nearly_known_is_suggested():
    with pytest.raises(InputError, match="did you mean 'Qwen/Qwen3-8B'"):
        find_facts("Qwen/Qwen3-8BB", "catalogue")


@pytest.mark.parametrize("name", ["phi-4", "Phi-4", "gpt-oss-20b"])
def test_a_known_name_without_its_organisation_is_told_without_asking_the_hub(name):
    with pytest.raises(InputError, match=f"did you mean '(microsoft|openai)/{name.lower()}'"):
        find_facts(name)


def test_own_rows_are_added_and_take_the_place_of_shipped_ones(own):
    (own / "gpus.csv").write_text(
        "name,usable_gib,source\nMY-GPU,10,measured\nT4-16GB,14,measured here\n"
    )
    (own / "models.csv").write_text(
        "name,weights_gib,kv_bytes_per_token,source\nme/tuned,3.5,1024,our registry\n"
    )
    assert gpu_type("my-gpu").memory_bytes == 10 * 2**30
    assert gpu_type("T4-16GB").source == "measured here"
    assert len(gpu_types()) == 24
    facts = find_facts("me/tuned")
    assert facts.weights_bytes.value == 3.5 * 2**30
    assert "our registry" in facts.weights_bytes.origin


def test_every_wrong_row_is_told_with_its_line(own):
    (own / "gpus.csv").write_text(
        "name,usable_gib,source,box_gb\nA,ten,x,\nB,10,,\nC,10,x,-4\nD,10,x,4\n"
    )
    with pytest.raises(InputError) as caught:
        gpu_types()
    lines = caught.value.lines()
    assert len(lines) == 3
    assert lines[0].endswith("usable_gib, line 2: 'ten' is no number of GiB")
    assert [f"line {n}" in line for n, line in zip((2, 3, 4), lines, strict=True)] == [True] * 3
    (own / "models.csv").write_text("name\nx\n")
    with pytest.raises(InputError) as caught:
        known_models()
    assert len(caught.value.lines()) == 3


def test_an_own_table_that_is_no_text_is_told_in_words(own):
    (own / "gpus.csv").write_bytes("name,memory\n".encode("utf-16"))
    with pytest.raises(InputError, match=r"gpus.csv: this is UTF-16; save the file as UTF-8"):
        gpu_types()
