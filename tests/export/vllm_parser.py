"""A program for a Python that has vLLM: read command lines, say what its parser makes of them."""

PARSE = """
import json, sys
import vllm.platforms
if not vllm.platforms.current_platform.device_type:  # no GPU, and not the build for CPUs
    from vllm.platforms.cpu import CpuPlatform
    vllm.platforms._current_platform = CpuPlatform()
from vllm.utils.argparse_utils import FlexibleArgumentParser
try:
    from vllm.entrypoints.common.cli_args import make_arg_parser  # since 0.33
except ImportError:
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
parser = make_arg_parser(FlexibleArgumentParser())
known = {flag for action in parser._actions for flag in action.option_strings}
for line in sys.stdin:
    words = json.loads(line)
    unknown = [w for w in words if w.startswith("--") and w.partition("=")[0] not in known]
    found = parser.parse_args(words)
    print(json.dumps({"unknown": unknown, "degree": found.tensor_parallel_size,
                      "length": found.max_model_len, "kv": found.kv_cache_memory_bytes}))
"""
