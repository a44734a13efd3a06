"""What a fleet file says of a cache is, on each rank, what the layout says that a rank holds."""

import pytest

from kvplace.core.fact import Fact
from kvplace.core.models.model import SLO, Attention, Demand, Model
from kvplace.facts.cache import CacheGroup, CacheLayout, Units
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
    figures = cache_figures(ModelFacts("m", Fact(1, ""), layout, "here"), degree, prompt + 50)
    assert (figures.split and (figures.split[0], figures.split[1].value)) == said
    model = Model(
        "m",
        10**9,
        Demand(1.0, prompt, 100.0),
        SLO(ttft_seconds=1.0, tpot_seconds=0.1),
        kv_bytes_per_token=figures.bytes_per_token.value,
        kv_bytes_per_sequence=figures.bytes_per_sequence.value if figures.bytes_per_sequence else 0,
        tensor_parallel=(degree,),
        attention=Attention.MLA if said == ("attention", "mla") else Attention.GROUPED,
        kv_heads=said[1] if said and said[0] == "kv_heads" else None,
    )
    tokens = prompt + 50
    held = model.kv_bytes_per_token * tokens + model.kv_bytes_per_sequence
    assert held * model.kv_part(degree) == pytest.approx(layout.bytes_held(tokens, degree))
    told = any("sum over" in note for note in figures.notes)
    assert told == (said is None and held != layout.bytes_held(tokens))
