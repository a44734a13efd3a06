"""Facts computed from configs against the published table of 93 models."""

import csv
from pathlib import Path

import pytest
from checkpoints import published_config, write_checkpoint

from kvplace.facts.checkpoint.huggingface import facts_from_directory

TABLE = Path(__file__).parents[2].parent / "shared/data/models.csv"


def rows() -> list[dict[str, str]]:
    if not TABLE.is_file():
        return []
    with TABLE.open(newline="") as stream:
        return [row for row in csv.DictReader(stream) if row["weight_dtype"] == "bf16"]


@pytest.mark.skipif(not TABLE.is_file(), reason=f"the table of models is not at {TABLE}")
def test_the_table_has_93_models():
    assert len(rows()) == 93


@pytest.mark.skipif(not TABLE.is_file(), reason=f"the table of models is not at {TABLE}")
@pytest.mark.parametrize("row", rows(), ids=lambda row: row["name"])
def test_weights_and_cache_agree_with_the_table(row, tmp_path):
    weights = round(float(row["params_b"]) * 1e9) * 2
    facts = facts_from_directory(write_checkpoint(tmp_path / "m", published_config(row), weights))
    assert facts.weights_bytes.value == weights
    # The table prints GiB to three digits, from parameters that are rounded once more.
    assert facts.weights_bytes.value / 2**30 == pytest.approx(float(row["weight_gib"]), abs=6e-4)

    expected = int(row["kv_bytes_per_token_bf16"])
    if "DSA" in row["note"]:
        # The table leaves out the keys of the sparse-attention indexer, and says so. Engines
        # keep them: 128 bytes and a 4-byte scale per token and layer, so here the table is low.
        expected += int(row["layers"]) * (128 + 4)
    assert facts.layout.bytes_per_token() == expected

    if row["window_tokens"]:
        beyond = int(row["kv_bytes_per_token_beyond_window_bf16"])
        assert facts.layout.bytes_per_token_beyond_window() == beyond
        assert facts.layout.windows == (int(row["window_tokens"]),)
    elif "Phi-3" in row["name"]:
        # The table lists no window; the published configs have one, for every layer. Inside it
        # both say the same.
        assert facts.layout.bytes_per_token_beyond_window() == 0
    else:
        assert facts.layout.windows == ()
    assert (facts.layout.bytes_per_sequence() > 0) == (
        row["attn"] == "hybrid-linear" and "Super-49B" not in row["name"]
    )
