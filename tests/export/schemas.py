"""Schemas of what runtimes accept, written from their documented fields."""

MODEL_CLAIM = {
    # aibrix.readthedocs.io, features/modelclaim: "The supported spec fields are"; the same in
    # config/crd/model/model.aibrix.ai_modelclaims.yaml at e3e10f9e of 2026-08-22.
    "type": "object",
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "additionalProperties": False,
    "properties": {
        "apiVersion": {"const": "model.aibrix.ai/v1alpha1"},
        "kind": {"const": "ModelClaim"},
        "metadata": {"type": "object", "required": ["name"]},
        "spec": {
            "type": "object",
            "required": ["podSelector", "artifactURL"],
            "additionalProperties": False,
            "properties": {
                "modelName": {"type": "string", "minLength": 1},
                "podSelector": {
                    "type": "object",
                    "required": ["matchLabels"],
                    "properties": {
                        "matchLabels": {
                            "type": "object",
                            "additionalProperties": {
                                "type": "string",
                                "pattern": r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$",
                            },
                        }
                    },
                },
                "artifactURL": {"type": "string", "pattern": r"^([a-z0-9]+://[!-~]+|/.*)$"},
                "engine": {"enum": ["vllm", "sglang"]},
                "replicas": {"const": 1},  # "The current API only accepts 1."
                "engineConfig": {
                    "type": "object",
                    "required": ["args"],
                    "additionalProperties": False,
                    "properties": {
                        "args": {
                            "type": "object",
                            "propertyNames": {
                                "pattern": "^--",
                                "not": {"const": "--gpu-memory-utilization"},
                            },
                            "additionalProperties": {"type": "string"},
                        }
                    },
                },
            },
        },
    },
}

POOL_POLICY = {
    # The annotation pool.aibrix.ai/policy is "one strict JSON".
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "reclaim": {
            "type": "object",
            "required": ["mode", "capacityBytes"],
            "additionalProperties": False,
            "properties": {
                "mode": {"const": "kv-first"},
                "capacityBytes": {"type": "integer", "minimum": 1},
                "guaranteedFloorPercent": {"type": "integer", "minimum": 0, "maximum": 100},
            },
        },
        "lifecycle": {"type": "object"},
    },
}

LLAMA_SWAP = {
    # The published config-schema.json of llama-swap, the parts that an export uses.
    "type": "object",
    "required": ["models"],
    "additionalProperties": False,
    "properties": {
        "healthCheckTimeout": {"type": "integer", "minimum": 15},
        "logLevel": {"enum": ["debug", "info", "warn", "error"]},
        "models": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["cmd"],
                "additionalProperties": False,
                "properties": {
                    "cmd": {"type": "string", "minLength": 1},
                    "env": {
                        "type": "array",
                        "items": {"type": "string", "pattern": "^[A-Z_][A-Z0-9_]*=.*$"},
                    },
                    "proxy": {"type": "string", "pattern": r"^http://127\.0\.0\.1:\d+$"},
                    "checkEndpoint": {"type": "string", "pattern": "^/.*$|^none$"},
                    "ttl": {"type": "integer", "minimum": -1},
                    "concurrencyLimit": {"type": "integer", "minimum": 0},
                    "metadata": {"type": "object"},
                },
            },
        },
        "groups": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["members"],
                "additionalProperties": False,
                "properties": {
                    "swap": {"type": "boolean"},
                    "exclusive": {"type": "boolean"},
                    "persistent": {"type": "boolean"},
                    "members": {"type": "array", "items": {"type": "string"}},
                },
            },
        },
        "hooks": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "on_startup": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {"preload": {"type": "array", "items": {"type": "string"}}},
                }
            },
        },
    },
}

PRISM = {
    # The model configurations in prism-research's benchmark.
    "type": "array",
    "items": {
        "type": "object",
        "required": ["model_name", "model_path", "tp_size", "init_placements"],
        "additionalProperties": False,
        "properties": {
            "model_name": {"type": "string"},
            "model_path": {"type": "string"},
            "tokenizer_path": {"type": "string"},
            "tp_size": {"type": "integer", "minimum": 1},
            "init_placements": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["gpu_ids", "on", "max_memory_pool_size"],
                    "additionalProperties": False,
                    "properties": {
                        "gpu_ids": {"type": "array", "items": {"type": "integer", "minimum": 0}},
                        "on": {"type": "boolean"},
                        "max_memory_pool_size": {"type": "number", "exclusiveMinimum": 0},
                    },
                },
            },
        },
    },
}
