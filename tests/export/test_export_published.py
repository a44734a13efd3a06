"""Exports against what the runtimes publish: schemas, argument parsers, AIBrix's own launcher.

Nothing of it is in this repository. `KVPLACE_PUBLISHED` names a folder with ``llama-swap.json``
(``config-schema.json`` of mostlygeek/llama-swap) and ``aibrix-modelclaim.yaml``
(``config/crd/model/model.aibrix.ai_modelclaims.yaml`` of vllm-project/aibrix).
`KVPLACE_SGLANG_PYTHON`, `KVPLACE_AIBRIX_PYTHON` and `KVPLACE_VLLM_PYTHON` name a Python that
imports each; the wheel alone, unpacked on its path, is enough of SGLang and of vLLM.
What was found, of which version and when, is in docs/how-to/export.md.
"""

import json
import os
import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml
from exported import documents, objects
from test_export_accepted import exports
from vllm_parser import PARSE

from hostile import hostile_plan
from kvplace.export.commands import command
from kvplace.export.layout import lay_out

PUBLISHED = Path(os.environ.get("KVPLACE_PUBLISHED", "/nowhere"))
pytestmark = pytest.mark.heavy

SGLANG = """
import argparse, json, sys
from sglang.srt.server_args import ServerArgs
parser = argparse.ArgumentParser(allow_abbrev=False)
ServerArgs.add_cli_args(parser)
for line in sys.stdin:
    found = parser.parse_args(json.loads(line))
    print(json.dumps({"model": found.model_path, "degree": found.tp_size,
                      "tokens": found.max_total_tokens, "length": found.context_length}))
"""
AIBRIX = """
import json, subprocess, sys, types
from aibrix.openapi.protocol import ActivateRuntimeModelRequest
from aibrix.runtime import model_runtime
class Started:
    def __init__(self, command, **_):
        self.pid = 2**22
        print(json.dumps(command[1:]))
    def poll(self): return None
subprocess.Popen = Started
for line in sys.stdin:
    degree, body = json.loads(line)
    model_runtime.gpu_memory_snapshots = lambda: [{}] * degree
    request = ActivateRuntimeModelRequest(**body)
    runtime = model_runtime.ModelRuntime(launcher=model_runtime.SubprocessEngineLauncher())
    runtime.activate(
        model_name=request.model_name, artifact_url=request.artifact_url, engine=request.engine,
        engine_config=request.engine_config.model_dump() if request.engine_config else None)
"""


def published(name):
    """Return the text of a published file."""
    if not (PUBLISHED / name).is_file():
        pytest.skip(f"KVPLACE_PUBLISHED names no folder with {name}")
    return (PUBLISHED / name).read_text("utf-8")


def told(variable, program, lines):
    """Return what a program in another Python answers to each line."""
    python = os.environ.get(variable)
    if not python:
        pytest.skip(f"{variable} names no Python")
    done = subprocess.run(
        [*python.split(), "-c", program], check=False, capture_output=True, text=True,
        input="\n".join(json.dumps(line) for line in lines),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line[:1] in "[{"]


def closed(schema):
    """Return a schema that refuses keys which it does not name, wherever it names some."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: closed(part) for key, part in schema.items()}
    if isinstance(made.get("properties"), dict) and schema.get("type") == "object":
        made.setdefault("additionalProperties", False)
    return made


def claims():
    """Yield the ModelClaims of all plans, each with the GPUs of its pool."""
    for problem, placement, files in exports("aibrix"):
        degrees = {
            g.label: len(g.gpus) for h in lay_out(problem, placement).hosts for g in h.groups
        }
        for one in objects(files):
            if one["kind"] == "ModelClaim":
                pool = one["spec"]["podSelector"]["matchLabels"]["pool.aibrix.ai/name"]
                yield degrees[pool], one


def test_llama_swap_knows_every_key():
    schema = closed(json.loads(published("llama-swap.json")))
    schema["$schema"] = "http://json-schema.org/draft-07/schema#"  # theirs has a wrong address
    for _, _, files in exports("llama-swap"):
        for text in files.values():
            jsonschema.validate(documents(text)[0], schema)


def test_an_aibrix_claim_holds_against_its_resource_definition():
    definition = yaml.safe_load(published("aibrix-modelclaim.yaml"))
    (version,) = definition["spec"]["versions"]
    schema = closed(version["schema"]["openAPIV3Schema"])
    for _, claim in claims():
        assert claim["apiVersion"] == f"{definition['spec']['group']}/{version['name']}"
        jsonschema.validate(claim, schema)


def test_sglang_knows_every_flag():
    engines = [
        engine
        for seed in range(60)
        for engine in lay_out(*hostile_plan(seed)).engines
        if engine.model.launch.engine == "sglang" and not engine.model.launch.args
    ]
    assert len(engines) >= 3
    lines = [command(engine, "127.0.0.1")[3:] for engine in engines]
    for engine, found in zip(engines, told("KVPLACE_SGLANG_PYTHON", SGLANG, lines), strict=True):
        assert (found["model"], found["degree"]) == (engine.source, engine.degree)
        assert found["length"] == engine.model.max_model_len
        assert found["tokens"] > 0


def test_aibrix_s_runtime_starts_the_engines_of_the_claims():
    """Its launcher makes of each claim a command line that the engine's own parser takes."""
    wanted, lines = [], []
    for degree, claim in claims():
        spec = claim["spec"]
        body = {"model_name": spec["modelName"], "artifact_url": spec["artifactURL"],
                "engine": spec["engine"], "engine_config": spec.get("engineConfig")}  # fmt: skip
        lines.append((degree, body))
        wanted.append((degree, spec))
    commands = told("KVPLACE_AIBRIX_PYTHON", AIBRIX, lines)
    assert len(commands) == len(wanted) > 0
    known = []
    for words, (degree, spec) in zip(commands, wanted, strict=True):
        assert words[words.index("--served-model-name") + 1] == spec["modelName"]
        if spec["artifactURL"].startswith("/"):
            assert spec["artifactURL"] in words
        if spec["engine"] == "vllm" and not any(w in words for w in ("--enable-x", "--note")):
            known.append((degree, words[2:]))
    assert known
    if os.environ.get("KVPLACE_VLLM_PYTHON"):
        found = told("KVPLACE_VLLM_PYTHON", PARSE, [words for _, words in known])
        assert [(one["unknown"], one["degree"]) for one in found] == [([], d) for d, _ in known]
