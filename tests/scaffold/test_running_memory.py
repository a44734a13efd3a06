"""What a deployment says of the memory of its engines is kept, or named where it is not."""

import json

import pytest
import yaml

from kvplace.scaffold.deployments.read import read_deployment
from kvplace.scaffold.init import init


def compose(tmp_path, **commands):
    """Write a compose file with a service on a GPU of its own for each command."""
    services = {
        name: {"image": image, "command": command, "environment": {"CUDA_VISIBLE_DEVICES": str(at)}}
        for at, (name, (image, command)) in enumerate(commands.items())
    }
    path = tmp_path / "compose.yaml"
    path.write_text(json.dumps({"services": services}))
    return path


def test_cache_type_context_and_engine_are_those_that_run(tmp_path):
    sglang = "sglang.launch_server --model-path Qwen/Qwen3-4B --kv-cache-dtype fp8_e5m2"
    sglang += " --context-length 40960"
    path = compose(
        tmp_path,
        a=("vllm/vllm-openai", "--model Qwen/Qwen3-8B --kv-cache-dtype fp8 --max-model-len 32K"),
        b=("lmsysorg/sglang", sglang),
        c=("vllm/vllm-openai", "--model Qwen/Qwen3-0.6B --max-model-len auto"),
    )
    draft = init("1x8xH100", deployment=path)
    a, b, c = yaml.safe_load(draft.text)["models"]
    # Qwen3-8B has 36 layers with 8 heads of 128 keys and values: 147,456 B in 16 bits.
    assert (a["kv_bytes_per_token"], a["max_model_len"]) == (73728, 32768)
    assert a["launch"] == {"args": ["--kv-cache-dtype", "fp8"]}
    assert (b["kv_bytes_per_token"], b["max_model_len"]) == (73728, 40960)
    assert b["launch"] == {"engine": "sglang", "args": ["--kv-cache-dtype", "fp8_e5m2"]}
    assert "kv_block_tokens" not in b  # the blocks are vLLM's
    assert not {"max_model_len", "launch"} & c.keys()
    assert not draft.notes


def test_what_changes_memory_and_is_not_counted_is_named(tmp_path):
    flags = "--quantization fp8 --enable-lora --speculative_config={} --kv-cache-dtype nvfp4"
    path = compose(tmp_path, a=("vllm/vllm-openai", f"--model Qwen/Qwen3-8B {flags}"))
    (note,) = init("1xH100", deployment=path).notes
    for flag in ("--quantization fp8", "--enable-lora", "--speculative-config", "nvfp4"):
        assert flag in note
    assert "is not counted" in note


def test_a_service_without_figures_needs_no_demand_where_it_is_kept(tmp_path):
    from kvplace.demand.read import demand  # noqa: PLC0415

    path = compose(
        tmp_path,
        a=("vllm/vllm-openai", "--model Qwen/Qwen3-8B"),
        b=("vllm/vllm-openai", "--model nobody/knows --tensor-parallel-size 1"),
    )
    log = tmp_path / "log.csv"
    rows = "".join(f"2026-01-01T00:00:{s:02}Z,Qwen/Qwen3-8B,10,5\n" for s in range(60))
    log.write_text(f"timestamp,model,prompt_tokens,output_tokens\n{rows}")
    from kvplace.scaffold.models import Wishes  # noqa: PLC0415

    wishes = Wishes(ttft_seconds=1.0, tpot_seconds=0.1, facts="catalogue")
    draft = init("1x8xH100", demand=demand(log), deployment=path, wishes=wishes, keep_unknown=True)
    assert [entry.name for entry in draft.unread] == ["b"]
    assert draft.reserved == ("h100-0/1",)


@pytest.mark.parametrize(
    ("words", "gpus"),
    [
        ("5 6", [(5,), (6,)]),
        ("{2..4}", [(2,), (3,), (4,)]),
        ("$(seq 0 1)", [(0,), (1,)]),
        ("$(ls)", [None]),
        ("*", [None]),
    ],
)
@pytest.mark.parametrize("head", ["; do\n", "\ndo\n"])
def test_a_loop_starts_an_engine_for_each_of_its_words(words, gpus, head):
    text = (
        f"for i in {words}{head}  CUDA_VISIBLE_DEVICES=$i vllm serve org/m --port 80$i &\n"
        "  while true; do\n    sleep 1\n  done &\ndone\nvllm serve org/n\n"
    )
    found = read_deployment(text, "start.sh").instances
    assert [one.gpus for one in found if one.model == "org/m"] == gpus
    assert [one.model for one in found][-1] == "org/n"


def test_a_config_file_that_is_not_read_is_named(tmp_path):
    path = compose(
        tmp_path,
        a=("vllm/vllm-openai", "--config /cfg/vllm.yaml"),
        b=("vllm/vllm-openai", "--model Qwen/Qwen3-8B"),
    )
    (entry,) = read_deployment(path.read_text(), str(path)).unread
    assert entry.reason.endswith("and --config /cfg/vllm.yaml is not read; name it with --model")
