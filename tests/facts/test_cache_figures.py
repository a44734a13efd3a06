"""What a fleet file says of a cache is, on each rank, what the layout says that a rank holds."""

import pytest

from kvplace.core.fact import Fact
from kvplace.core.models.demand import SLO, Demand
from kvplace.core.models.kv_cache import SlidingWindow
from kvplace.core.models.model import Attention, Model
from kvplace.facts.cache import CacheGroup, CacheLayout, Units
from kvplace.facts.memory.blocks import block_tokens
from kvplace.facts.memory.figures import cache_figures
from kvplace.facts.model_facts import ModelFacts

HEADS = CacheGroup("full", 32, (Units(8, 512, "KV heads"),))
LATENT = CacheGroup("latent", 61, (Units(1, 1152, "latent vector"),))
WINDOW = CacheGroup("window", 30, (Units(8, 512, "KV heads"),), 1024)
WIDE = CacheGroup("window", 30, (Units(16, 512, "KV heads"),), 1024)
STATE = CacheGroup("state", 36, (Units(32, 32768, "value heads"),))

LAYOUTS = [
    # groups, what is said of the split
    ((HEADS,), ("kv_heads", 8)),
    ((LATENT,), ("attention", "mla")),
    ((LATENT, CacheGroup("indexer", 61, (Units(1, 132, "indexer key"),))), ("attention", "mla")),
    ((HEADS, WINDOW), ("kv_heads", 8)),
    ((HEADS, WIDE), None),
    ((HEADS, STATE), None),
    ((LATENT, STATE), None),
]


@pytest.mark.parametrize(("groups", "said"), LAYOUTS)
@pytest.mark.parametrize("degree", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("prompt", [100.0, 4000.0])
def test_each_rank_holds_what_the_layout_says(groups, said, degree, prompt):
    layout = CacheLayout(groups)
    figures = cache_figures(ModelFacts("m", Fact(1, ""), layout, "here"), degree)
    assert (figures.split and (figures.split[0], figures.split[1].value)) == said
    demand = Demand(1.0, prompt, 100.0, prompt_cv=0.0, output_cv=0.0)
    model = Model(
        "m",
        10**9,
        demand,
        SLO(ttft_seconds=1.0, tpot_seconds=0.1),
        kv_bytes_per_token=figures.bytes_per_token.value,
        kv_bytes_per_sequence=figures.bytes_per_sequence.value if figures.bytes_per_sequence else 0,
        sliding_windows=figures.windows,
        tensor_parallel=(degree,),
        attention=Attention.MLA if said == ("attention", "mla") else Attention.GROUPED,
        kv_heads=said[1] if said and said[0] == "kv_heads" else None,
    )
    tokens = prompt + 50
    held = model.mean_kv_bytes(demand)
    assert held * model.kv_part(degree) == pytest.approx(layout.bytes_held(tokens, degree), 1e-2)
    told = any("sum over" in note for note in figures.notes)
    assert told == (said is None and held != pytest.approx(layout.bytes_held(tokens), 1e-2))


def test_windows_are_told_apart():
    wide = CacheGroup("window", 2, (Units(8, 512, "KV heads"),), 4096)
    layout = CacheLayout((HEADS, WINDOW, wide))
    figures = cache_figures(ModelFacts("m", Fact(1, ""), layout, "here"), 1)
    assert figures.windows == (SlidingWindow(1024, 122_880), SlidingWindow(4096, 8_192))
    assert figures.bytes_per_token.value == 131_072 + 122_880 + 8_192


@pytest.mark.parametrize(
    ("groups", "tokens"),
    [
        ((HEADS,), 16),
        ((LATENT,), 64),
        ((HEADS, WINDOW), 16),
        # NVIDIA-Nemotron-Nano-9B-v2, 672 tokens (vllm-project/vllm#24280): 128 heads of 80 with a
        # state of 128 and three inputs of the convolution, 8 groups; 8 KV heads of 128.
        (
            (
                CacheGroup("full", 4, (Units(8, 512, "KV heads"),)),
                CacheGroup("state", 27, (Units(128, 80 * (128 + 3) * 2, "Mamba heads"),
                                         Units(8, 2 * 128 * 3 * 2, "Mamba groups"))),
            ),
            672,
        ),
        # A Qwen3.5, 528 tokens and 0.76 % of padding (vllm-project/vllm#37467): what the 35B-A3B
        # has on each of four ranks, with its state in 32 bits.
        (
            (
                CacheGroup("full", 10, (Units(1, 1024, "KV heads"),)),
                CacheGroup("state", 30, (Units(8, 128 * 128 * 4 + 3 * 128 * 2, "value heads"),
                                         Units(4, 3 * 2 * 128 * 2, "key heads"))),
            ),
            528,
        ),
        # A 27B of that family with an FP8 cache, 1,568 tokens and 0.13 % of padding
        # (noonghunna/club-3090#1047): 48 value and 16 key heads, 4 KV heads of 256.
        (
            (
                CacheGroup("full", 16, (Units(4, 512, "KV heads"),)),
                CacheGroup("state", 48, (Units(48, 128 * 128 * 4 + 3 * 128 * 2, "value heads"),
                                         Units(16, 3 * 2 * 128 * 2, "key heads"))),
            ),
            1568,
        ),
    ],
)  # fmt: skip
def test_a_block_holds_a_state(groups, tokens):
    assert block_tokens(CacheLayout(groups)).value == tokens
