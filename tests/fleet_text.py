"""A small fleet file with every key, for tests to change."""

FLEET = """\
schema: kvplace.fleet/v1
nodes:
  - {name: a, count: 2, gpus: 2, gpu: {type: X, memory: 80GiB, reserve: 2GiB}, labels: {zone: z}}
  - name: b
    gpus: [{memory: 40GiB}, {type: H100-SXM-80GB}]
models:
  - name: org/one
    weights: 10GiB
    demand: {requests_per_second: 126/min}
    slo: {latency: 2s}
  - name: two
    weights: 1500MB
    kv_bytes_per_token: 131072
    kv_bytes_per_sequence: 3MiB
    overhead: 0B
    min_kv: 2GiB
    demand: {requests_per_second: 0.5, prompt_tokens: 1e3, output_tokens: 100}
    slo: {ttft: 500ms, tpot: 20ms}
"""
