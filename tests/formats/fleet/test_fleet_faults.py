"""Each fault of a fleet file: its path, its line and the way out."""

import time

import pytest

from fleet_text import FLEET
from kvplace.errors import InputError
from kvplace.formats.read import parse_fleet


def faults_of(text, source="fleet.yaml", **options):
    with pytest.raises(InputError) as caught:
        parse_fleet(text, source, **options)
    assert caught.value.source == source
    return [str(fault) for fault in caught.value.faults]


REPLACED = [
    # what is replaced, by what, the fault
    (
        "schema: kvplace.fleet/v1",
        "schema: kvplace.fleet/v2",
        "schema, line 1: must be kvplace.fleet/v1, not the text 'kvplace.fleet/v2'",
    ),
    (
        "weights: 10GiB",
        "weights: 10",
        "models[0].weights, line 8: 10 has no unit; write it like 10GiB",
    ),
    (
        "weights: 10GiB",
        "weights: '10'",
        (
            "models[0].weights, line 8: '10' has no unit; write it like 14.958GiB (known units: "
            "B, kB, "
            "KB, MB, GB, TB, KiB, MiB, GiB, TiB, Ki, Mi, Gi, Ti)"
        ),
    ),
    (
        "weights: 10GiB",
        "weights: 10Gb",
        (
            "models[0].weights, line 8: '10Gb' has the unknown unit 'Gb'; did you mean 10GB? "
            "known units: B, kB, KB, MB, "
            "GB, TB, KiB, MiB, GiB, TiB, Ki, Mi, Gi, Ti"
        ),
    ),
    (
        "weights: 10GiB",
        "weights: -1GiB",
        "models[0].weights, line 8: '-1GiB' is negative; memory starts at 0B",
    ),
    (
        "weights: 10GiB",
        "weights: 1e9GiB",
        "models[0].weights, line 8: '1e9GiB' is more than 1024TiB; check the unit",
    ),
    (
        "weights: 10GiB",
        "weights: [1]",
        "models[0].weights, line 8: must be an amount of memory such as 14.958GiB, not a list",
    ),
    (
        "weights: 10GiB",
        "weights:",
        "models[0].weights, line 8: must be an amount of memory such as 14.958GiB, not nothing",
    ),
    (
        "    weights: 10GiB\n",
        "",
        "models[0].weights, line 7: is missing; write it like weights: 14.958GiB",
    ),
    (
        "weights: 10GiB",
        "wieghts: 10GiB",
        "models[0].wieghts, line 8: unknown key 'wieghts'; did you mean 'weights'?",
    ),
    (
        "latency: 2s",
        "latency: 2",
        "models[0].slo.latency, line 10: 2 has no unit; write it like 2ms or 2s",
    ),
    (
        "ttft: 500ms",
        "ttft: 500m",
        (
            "models[1].slo.ttft, line 18: '500m' has the unknown unit 'm'; known units: us, ms, "
            "s, min, "
            "h, d"
        ),
    ),
    (
        "ttft: 500ms",
        "ttft: 12:30",
        (
            "models[1].slo.ttft, line 18: '12:30' has the unknown unit ':30'; known units: us, ms, "
            "s, min, h, d"
        ),
    ),
    (
        "ttft: 500ms",
        "ttft: yes",
        "models[1].slo.ttft, line 18: 'yes' is not a duration; write it like 572ms",
    ),
    (
        "slo: {latency: 2s}",
        "slo: {latency: 0s}",
        "models[0].slo.latency, line 10: the objective divides by it; it must be above 0s",
    ),
    (
        "slo: {latency: 2s}",
        "slo: {}",
        (
            "models[0].slo.latency, line 10: 'org/one' needs it for the objective requests; "
            "give it, or slo.ttft and slo.tpot together with demand.output_tokens"
        ),
    ),
    (
        "requests_per_second: 0.5",
        "requests_per_second: .nan",
        (
            "models[1].demand.requests_per_second, line 17: must be a number such as 2.1 (per "
            "second) or "
            "126/min, not nan"
        ),
    ),
    (
        "requests_per_second: 0.5",
        "requests_per_second: -.inf",
        (
            "models[1].demand.requests_per_second, line 17: must be a number such as 2.1 (per "
            "second) or "
            "126/min, not -inf"
        ),
    ),
    (
        "requests_per_second: 0.5",
        "requests_per_second: -1",
        "models[1].demand.requests_per_second, line 17: -1 is negative; it starts at 0",
    ),
    (
        "requests_per_second: 0.5",
        "requests_per_second: 2e12",
        (
            "models[1].demand.requests_per_second, line 17: 2000000000000.0 is more than "
            "1,000,000,000,000; check the number"
        ),
    ),
    (
        "requests_per_second: 0.5",
        "requests_per_second: true",
        (
            "models[1].demand.requests_per_second, line 17: must be a number such as 2.1 (per "
            "second) or "
            "126/min, not the truth value true"
        ),
    ),
    (
        "requests_per_second: 126/min",
        "requests_per_second: 126/month",
        (
            "models[0].demand.requests_per_second, line 9: '126/month' has the unknown unit "
            "'/month'; "
            "known units: /s, /min, /h, /d"
        ),
    ),
    (
        "prompt_tokens: 1e3",
        "prompt_tokens: 1k",
        (
            "models[1].demand.prompt_tokens, line 17: must be a number of tokens such as 891, "
            "not the "
            "text '1k'"
        ),
    ),
    (
        "kv_bytes_per_token: 131072",
        "kv_bytes_per_token: 128KiB",
        (
            "models[1].kv_bytes_per_token, line 13: must be a bare whole number of bytes such "
            "as 131072, "
            "not the text '128KiB'; its unit is in the key"
        ),
    ),
    (
        "kv_bytes_per_token: 131072",
        "kv_bytes_per_token: 1.5",
        "models[1].kv_bytes_per_token, line 13: must be a whole number, not the number 1.5",
    ),
    (
        "kv_bytes_per_token: 131072",
        "kv_bytes_per_token: 9" + "9" * 80,
        (
            "models[1].kv_bytes_per_token, line 13: must be a whole number from 0 to "
            "1,099,511,627,776, "
            "not 1e+81"
        ),
    ),
    (
        "name: two",
        "name: org/one",
        "models[1].name, line 11: 'org/one' is already the name of models[0]",
    ),
    (
        "name: two",
        'name: "a\\u0007"',
        "models[1].name, line 11: 'a\\x07' holds the unprintable character U+0007; remove it",
    ),
    (
        "name: two",
        'name: " a"',
        "models[1].name, line 11: ' a' starts or ends with a space; remove it",
    ),
    (
        "name: two",
        "name: 2",
        'models[1].name, line 11: must be a text, not the number 2; put it in quotes: "2"',
    ),
    (
        "name: two",
        "name: " + "x" * 300,
        "models[1].name, line 11: has 300 characters; 1 to 256 are accepted",
    ),
    (
        "count: 2",
        "count: 0",
        "nodes[0].count, line 3: must be a whole number from 1 to 1,000,000, not 0",
    ),
    (
        "count: 2",
        "count: 600000",
        "nodes[0].gpus, line 3: the fleet has more than 1,000,000 GPUs",
    ),
    ("gpus: 2", "gpus: two", "nodes[0].gpus, line 3: must be a whole number, not the text 'two'"),
    ("gpu: {type: X, memory: 80GiB, reserve: 2GiB}", "gpu: {type: X}", None),
    (
        "gpu: {type: X, memory: 80GiB, reserve: 2GiB}, ",
        "",
        ("nodes[0].gpu, line 3: is missing; write it like gpu: H200 or gpu: {memory: 139GiB}"),
    ),
    (
        "type: H100-SXM-80GB",
        "type: H100-SXM-80G",
        (
            "nodes[1].gpus[1].type, line 5: 'H100-SXM-80G' is no GPU type of the catalogue; did "
            "you mean "
            "'H100-SXM-80GB', or give its memory"
        ),
    ),
    (
        "{memory: 40GiB}",
        "{}",
        "nodes[1].gpus[0], line 5: has neither a type nor memory; write it like {memory: 80GiB}",
    ),
    ("{memory: 40GiB}", "{memory: 0B}", "nodes[1].gpus[0].memory, line 5: must be above 0B"),
    (
        "reserve: 2GiB",
        "reserve: 80GiB",
        "nodes[0].gpu.reserve, line 3: 80GiB is not less than the memory, 80GiB",
    ),
    (
        "{zone: z}",
        "{zone: 7}",
        'nodes[0].labels.zone, line 3: must be a text, not the number 7; put it in quotes: "7"',
    ),
    ("name: b", "name: a-1", "nodes[1].name, line 4: 'a-1' is already the name of nodes[0]"),
    (
        "    min_kv: 2GiB",
        "    kv_heads: 8\n    attention: mla",
        ("models[1], line 11: kv_heads has no place beside attention: mla; leave one of them out"),
    ),
    (
        "    min_kv: 2GiB",
        "    gpu_types: [H900]",
        (
            "models[1].gpu_types, line 16: the fleet has no GPU of type 'H900'; it has 40GiB, "
            "H100-SXM-80GB, X"
        ),
    ),
    (
        "    min_kv: 2GiB",
        "    resources: {compute: 1}",
        (
            "models[1].resources.compute, line 16: no GPU and no node has 'compute'; give it under "
            "their resources"
        ),
    ),
    (
        "    min_kv: 2GiB",
        "    replicas: {min: 3, max: 2}",
        "models[1].replicas, line 16: min 3 is above max 2",
    ),
    (
        "    min_kv: 2GiB",
        "    replicas: 0",
        "models[1].replicas, line 16: must be a whole number from 1 to 1,000,000, not 0",
    ),
    (
        "    min_kv: 2GiB",
        "    tensor_parallel: [2, 2]",
        "models[1].tensor_parallel, line 16: names a degree twice",
    ),
    (
        "    min_kv: 2GiB",
        "    overhead: 1B",
        "models[1].overhead, line 16: the key 'overhead' is given twice, first in line 15",
    ),
    (
        "    min_kv: 2GiB",
        "    min_kv: &x 2GiB",
        (
            "models[1].min_kv, line 16: the anchor &x is not accepted; write the values out, as yq "
            "'explode(.)' does"
        ),
    ),
    (
        "    min_kv: 2GiB",
        "    min_kv: *x",
        (
            "models[1].min_kv, line 16: the alias *x is not accepted; write the values out, as yq "
            "'explode(.)' does"
        ),
    ),
    (
        "    min_kv: 2GiB",
        "    min_kv: !!python/object:os.system 2GiB",
        (
            "models[1].min_kv, line 16: the tag 'tag:yaml.org,2002:python/object:os.system' is not "
            "accepted; remove it"
        ),
    ),
    (
        "    min_kv: 2GiB",
        "    ? [a]\n    : 1",
        "models[1], line 16: a mapping or a list cannot be a key",
    ),
    (
        "    min_kv: 2GiB",
        "\tmin_kv: 2GiB",
        "line 16: not valid YAML: a tab cannot indent a line; use spaces",
    ),
]


@pytest.mark.parametrize(("old", "new", "fault"), REPLACED)
def test_each_fault_has_its_path_its_line_and_the_way_out(old, new, fault):
    assert old in FLEET
    found = faults_of(FLEET.replace(old, new, 1))
    if fault is None:
        assert found[0].startswith("nodes[0].gpu.type, line 3: 'X' is no GPU type")
    else:
        assert found == [fault]


WHOLE = [
    ("x", ["line 1: a fleet file is a mapping of keys, not the text 'x'"]),
    ("- 1", ["line 1: a fleet file is a mapping of keys, not a list"]),
    ("# nothing\n", ["line 1: a fleet file is a mapping of keys, not nothing"]),
    ("a: 1\n---\nb: 2\n", None),
    ("[" * 100_000, None),
    ("{" * 100_000, None),
    ("- " * 100_000, None),
    ("a: {b: " * 50, None),
    (
        FLEET.partition("models:")[0] + "models: []\n",
        ["models, line 6: is empty; it needs at least one entry"],
    ),
    (
        FLEET.partition("models:")[0] + "models: 3\n",
        [
            (
                "models, line 6: must be a list, not the number 3; write it like {name: org/model, "
                "weights: 14.958GiB, demand: {requests_per_second: 2.1}}, after a dash"
            )
        ],
    ),
    ("\x07", ["line 1: not valid YAML: the character U+0007 is not allowed"]),
    ("a: \ud800", ["line 1: half of a surrogate pair is no character"]),
]


@pytest.mark.parametrize(("text", "faults"), WHOLE)
def test_texts_that_are_no_fleet_are_refused_at_once(text, faults):
    start = time.perf_counter()
    found = faults_of(text)
    assert time.perf_counter() - start < 2
    assert found
    if faults is not None:
        assert found == faults


def test_a_billion_laughs_are_never_expanded():
    laughs = "a0: &a0 [x, x]\n" + "".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10)
    )
    found = faults_of(laughs)
    told = "the anchor &a0 is not accepted (and 90 more anchors or aliases); write the values out"
    assert f"a0, line 1: {told}, as yq 'explode(.)' does" in found
    assert not any("alias *" in fault for fault in found)


def test_what_stands_for_an_alias_has_no_other_fault():
    text = FLEET.replace("weights: 10GiB", "weights: *x").replace("min_kv: 2GiB", "min_kv: &x 2GiB")
    (found,) = faults_of(text)
    assert "(and 1 more" in found
    (found,) = faults_of("*x : 1\n")  # as a key
    assert "the alias *x is not accepted" in found


def test_all_faults_of_a_file_are_told_in_its_order():
    text = FLEET.replace("10GiB", "10").replace("500ms", "5").replace("count: 2", "count: x")
    text = text.replace("name: two", "name: org/one").replace("type: X", "typ: X")
    assert [fault.partition(": ")[0] for fault in faults_of(text)] == [
        "nodes[0].count, line 3",
        "nodes[0].gpu.typ, line 3",
        "models[0].weights, line 8",
        "models[1].name, line 11",
        "models[1].slo.ttft, line 18",
    ]


def test_many_faults_are_counted_after_the_first_fifty():
    model = "  - {name: m%d, weights: 1, demand: {requests_per_second: 0}}\n"
    found = faults_of(FLEET + "".join(model % i for i in range(70)))
    assert len(found) == 51
    assert found[-1] == "and 20 more faults"


JSON_FAULTS = [
    (
        '{"schema": "kvplace.fleet/v1",\n "nodes": [}',
        "line 2: not valid JSON: expecting value (column 12)",
    ),
    ('{"nodes": [1,\n ]}', ": not valid JSON: illegal trailing comma"),
    ('{"nodes": 1,\n }', ": not valid JSON: illegal trailing comma"),
    (
        '{"schema": 1,\n "schema": 2}',
        "schema, line 2: the key 'schema' is given twice, first in line 1",
    ),
    ('{"a":\n"\\ud800"}', "a, line 2: half of a surrogate pair is no character"),
    ("[" * 100_000, "line 1: nested deeper than 32 levels"),
    ('{"x": ' * 100_000, None),
    (
        '{"schema": "kvplace.fleet/v1",\n"nodes": NaN, "models": [1e999]}',
        "nodes, line 2: must be a list, not the number nan",
    ),
]


@pytest.mark.parametrize(("text", "fault"), JSON_FAULTS)
def test_json_faults_have_their_line_too(text, fault):
    found = faults_of(text, "fleet.json")
    assert fault is None or any(fault in line for line in found), found


LLAMA_OVER = """\
schema: kvplace.fleet/v1
nodes: 1x8xH100
models:
  - {{model: meta-llama/Llama-3.1-8B-Instruct, tensor_parallel: {degrees}}}
"""


@pytest.mark.parametrize("degrees", ["3", "[3, 5]"])
def test_degrees_that_engines_refuse(degrees):
    with pytest.raises(InputError) as refused:
        parse_fleet(LLAMA_OVER.format(degrees=degrees))
    (line,) = refused.value.lines()
    assert "models[0].tensor_parallel" in line
    assert "at 3: it does not divide the 32 attention heads" in line
    assert line.endswith("they take 1, 2, 4, 8, 16, 32")


def test_a_refused_degree_among_others_is_left_out_and_told():
    problem = parse_fleet(LLAMA_OVER.format(degrees="[1, 6, 8]"))
    assert problem.models[0].tensor_parallel == (1, 8)
    assert any("6: it does not divide the 32 attention heads" in told for told in problem.assumed)
    assert parse_fleet(LLAMA_OVER.format(degrees="[1, 8]")).models == problem.models


def test_kv_heads_alone_tell_degrees_that_engines_refuse():
    text = """\
schema: kvplace.fleet/v1
nodes: 1x8x80GiB
models:
  - {name: a, weights: 10GiB, kv_heads: 8, tensor_parallel: 6, demand: {requests_per_second: 0}}
"""
    with pytest.raises(InputError, match="neither divides the 8 KV heads nor is a multiple"):
        parse_fleet(text)
