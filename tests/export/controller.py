"""A kvcached controller as its documentation describes it: what it starts, and where it routes."""

import re
import shlex

KEYS = {
    "name", "model", "engine", "using_venv", "venv_path", "kvcached_env", "engine_env",
    "engine_args", "launch_delay_seconds",
}  # fmt: skip
CONFLICTING = ("--gpu-memory-utilization", "--mem-fraction-static")
_SESSION = re.compile(r"[A-Za-z0-9_-]+")


class Started:
    """One process that the controller would start."""

    def __init__(self, instance):
        assert instance.keys() <= KEYS, instance.keys() - KEYS
        self.name = instance["name"]
        assert _SESSION.fullmatch(self.name), "tmux takes . and : for windows and panes"
        self.model = instance["model"]
        self.engine = instance["engine"]
        assert self.engine in {"vllm", "sglang", "sgl"}
        if instance.get("using_venv"):
            assert instance.get("venv_path"), "using_venv needs a path"
        else:
            assert self.engine != "vllm", "vLLM is started from a virtual environment"
        self.words = [w for item in instance["engine_args"] for w in shlex.split(str(item))]
        assert not any(w.startswith(CONFLICTING) for w in self.words), "kvcached owns the memory"
        self.environment = {}
        for pair in [*instance["engine_env"], *instance["kvcached_env"]]:
            name, mark, value = pair.partition("=")
            assert mark
            assert name not in self.environment
            self.environment[name] = value
        self.host, self.port = "localhost", None
        for word in self.words:
            flag, _, value = word.partition("=")
            if flag == "--host":
                self.host = value
            elif flag == "--port":
                self.port = int(value)


def start(config):
    """Return what a node's file starts."""
    assert config.keys() <= {"kvcached", "router", "sleep_manager", "instances"}
    started = [Started(instance) for instance in config["instances"]]
    assert len({one.name for one in started}) == len(started)
    for one in started:
        assert one.environment["ENABLE_KVCACHED"] == "true"
    names = [one.environment["KVCACHED_IPC_NAME"] for one in started]
    assert len(set(names)) == len(names)
    return started


def routes(config):
    """Return where the front end sends each model: keyed by model, later entries win."""
    assert config["router"]["enable_router"]
    table = {}
    for one in map(Started, config["instances"]):
        if one.port is not None:  # an instance without a port is not routed
            table[one.model] = (one.host, one.port)
    return table
