"""What must hold of every export, whoever its names come from."""

import json
import re
import shlex

import yaml

from kvplace.export.commands import command, memory_arguments
from kvplace.export.layout import lay_out
from kvplace.export.runtimes.kvcached import name_of
from kvplace.formats.diagnostics import Report
from kvplace.formats.text.yaml_tree import parse_yaml
from kvplace.scaffold.deployments.compose import read_compose
from kvplace.scaffold.deployments.read import read_deployment

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml where there is one
LABEL = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
LABEL_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
FILE = re.compile(r"[a-z0-9-]{1,100}\.(yaml|json|sh)")


def documents(text):
    """Return the documents of a YAML text, which the rules of 1.1 and of 1.2 read alike."""
    found = list(yaml.load_all(text, Loader=_LOADER))
    for part, data in zip(re.split(r"^---\n", text, flags=re.MULTILINE)[-len(found) :], found,
                          strict=True):  # fmt: skip
        report = Report("")
        assert parse_yaml(part, report) == data
        assert not report
    return found


def objects(files):
    """Return all Kubernetes objects of some files."""
    return [one for text in files.values() for one in documents(text)]


def commands_of(script):
    """Return the words of each command that a script starts, as bash would split them."""
    joined = script.replace(" \\\n  ", " ")
    lines = re.findall(r"^env .*?(?= &\npid_)", joined, re.MULTILINE | re.DOTALL)
    return [shlex.split(line) for line in lines]


def expected_words(layout):
    """Return the words that start each engine, whatever is said of memory, by its port."""
    words = {}
    for host in layout.hosts:
        for engine in host.engines:
            memory = {word.partition("=")[0] for word in memory_arguments(engine)}
            words[host.label, engine.port] = (without(command(engine, "H"), memory), memory)
    return words


def without(words, flags):
    """Return words without some flags and the host."""
    return [word for word in words if word.partition("=")[0] not in {*flags, "--host"}]


def check_layout(layout):
    """Ports, labels and paths never clash; every GPU's parts fit."""
    labels = [engine.label for engine in layout.engines]
    assert len(set(labels)) == len(labels)
    names = [engine.served_name for engine in layout.engines]
    assert len(set(names)) == len(names)
    groups = [group.label for host in layout.hosts for group in host.groups]
    assert len(set(groups)) == len(groups)
    for text in (*labels, *groups, *(host.label for host in layout.hosts)):
        assert LABEL.fullmatch(text), text
    for host in layout.hosts:
        ports = [engine.port for engine in host.engines]
        assert len(set(ports)) == len(ports)
        for group in host.groups:
            for gpu in group.gpus:
                here = [engine for engine in group.engines if gpu.id in engine.gpus]
                taken = sum(engine.footprint_bytes + engine.kv_bytes for engine in here)
                assert taken <= gpu.memory_bytes
                if any(engine.degree == 1 for engine in here):
                    assert taken == gpu.memory_bytes  # what an engine over several leaves is used
        waves = host.waves()
        for wave in waves:
            used = [gpu for engine in wave for gpu in engine.gpus]
            assert len(set(used)) == len(used)
        assert sorted(e.label for w in waves for e in w) == sorted(e.label for e in host.engines)
    for engine in layout.engines:
        assert engine.kv_bytes >= engine.model.min_kv_bytes


def check_files(to, files, problem, placement):
    """Every file parses and says exactly what was planned."""
    layout = lay_out(problem, placement)
    assert all(FILE.fullmatch(name) for name in files)
    assert not any("\0" in text for text in files.values())
    CHECKS[to](layout, files)


def check_kvcached(layout, files):
    front = documents(files["frontend.yaml"])[0]
    models = [instance["model"] for instance in front["instances"]]
    assert models == [*dict.fromkeys(models)]  # the router keys by model
    assert sorted(models) == sorted(engine.served_name for engine in layout.engines)
    for host in layout.hosts:
        text = files[f"node-{host.label}.yaml"]
        (data,) = documents(text)
        by_name = {instance["name"]: instance for instance in data["instances"]}
        ipc = [v for i in data["instances"] for v in i["kvcached_env"] if "IPC_NAME" in v]
        assert len(set(ipc)) == len(by_name) == len(host.engines)
        for engine in host.engines:
            instance = by_name[name_of(engine.label)]
            words = [word for item in instance["engine_args"] for word in shlex.split(item)]
            assert f"--port={engine.port}" in words
            assert f"--served-model-name={engine.served_name}" in words
            assert "--host=0.0.0.0" not in words
            assert words[-len(engine.model.launch.args) :] == list(engine.model.launch.args) or (
                not engine.model.launch.args
            )
            assert instance["using_venv"] is False or instance["venv_path"]
        read = {i.name: i for i in read_deployment(text, "x").instances}
        for engine in host.engines:
            again = read[name_of(engine.label)]
            assert (again.model, again.degree, again.gpus) == (
                engine.source, engine.degree, engine.indices,
            )  # fmt: skip
        assert not any(a != b and b.startswith(a) for a in by_name for b in by_name)


def check_compose(layout, files):
    expected = expected_words(layout)
    for host in layout.hosts:
        text = files[f"compose-{host.label}.yaml"]
        (data,) = documents(text)
        assert sorted(data["services"]) == sorted(engine.label for engine in host.engines)
        found = read_compose(data, "x")
        read, held = ({i.name: i for i in part} for part in (found.instances, found.unread))
        for engine in host.engines:
            service = data["services"][engine.label]
            for value in (*service["command"], *(service.get("environment") or {}).values()):
                assert not re.search(r"(?<!\$)(\$\$)*\$(?!\$)", value or "")  # no lone dollar
            words = [w.replace("$$", "$") for w in service["entrypoint"] + service["command"]]
            wanted, memory = expected[host.label, engine.port]
            assert without(words, memory) == wanted
            if engine.label in read:
                assert read[engine.label].gpus == engine.indices
                assert read[engine.label].model == engine.source
            else:  # a path within the container, which is not here
                assert held[engine.label].gpus == engine.indices
                assert engine.source.startswith(("/", ".", "~"))
            assert set(service.get("depends_on", {})) < set(data["services"])
            written = json.dumps(service)
            assert all(f'"{s}": null' in written for s in engine.model.launch.secrets)


def check_shell(layout, files):
    for host in layout.hosts:
        check_script(layout, host, host.engines, files[f"start-{host.label}.sh"])


def check_script(layout, host, engines, text):
    expected = expected_words(layout)
    started = commands_of(text)
    assert len(started) == len(engines)
    for words in started:
        port = next(int(w.removeprefix("--port=")) for w in words if w.startswith("--port="))
        wanted, memory = expected[host.label, port]
        start = next(at for at, word in enumerate(words) if word in {"vllm", "python3"})
        rest = words[start:-2] if words[-1] == "2>&1" else words[start:]
        assert without(rest, memory) == wanted


def check_kubernetes(layout, files):
    found = objects(files)
    keys = [(one["kind"], one["metadata"]["name"]) for one in found]
    assert len(set(keys)) == len(keys)
    ports = {}
    for one in found:
        assert LABEL.fullmatch(one["metadata"]["name"])
        for key, value in one["metadata"].get("labels", {}).items():
            assert LABEL_VALUE.fullmatch(value)
            assert re.fullmatch(
                r"([a-z0-9.-]+/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", key
            )
        if one["kind"] == "Deployment":
            (container,) = one["spec"]["template"]["spec"]["containers"]
            names = [port["name"] for port in container["ports"]]
            assert len(set(names)) == len(names)
            assert all(re.fullmatch(r"[a-z0-9-]{1,15}", name) for name in names)
            for key in one["spec"]["template"]["metadata"]["labels"]:
                ports.setdefault(key, set()).update(names)
    for one in found:
        if one["kind"] == "Service":
            (key,) = one["spec"]["selector"]
            assert {port["targetPort"] for port in one["spec"]["ports"]} <= ports[key]
    scripts = {one["metadata"]["name"]: one["data"]["start.sh"]
               for one in found if one["kind"] == "ConfigMap"}  # fmt: skip
    for host in layout.hosts:
        for group in host.groups:
            check_script(layout, host, group.engines, scripts[group.label])


def check_aibrix(layout, files):
    found = objects(files)
    claims = [one for one in found if one["kind"] == "ModelClaim"]
    pools = {one["metadata"]["name"] for one in found if one["kind"] == "Deployment"}
    assert len(claims) == len(layout.engines)
    for claim in claims:
        assert claim["spec"]["podSelector"]["matchLabels"]["pool.aibrix.ai/name"] in pools
        location = claim["spec"]["artifactURL"]
        assert location.startswith("/") or (location.isascii() and location.isprintable())
    assert sorted(c["spec"]["modelName"] for c in claims) == sorted(
        engine.model.name for engine in layout.engines
    )


def check_ray(layout, files):
    (data,) = documents(files["serve.yaml"])
    configs = data["applications"][0]["args"]["llm_configs"]
    ids = [config["model_loading_config"]["model_id"] for config in configs]
    assert len({re.sub(r"[^A-Za-z0-9]", "-", one) for one in ids}) == len(ids)
    count = sum(config["deployment_config"]["num_replicas"] for config in configs)
    assert count == len(layout.engines)
    for config in configs:
        bundles = config["placement_group_config"]["bundles"]
        kwargs = config["engine_kwargs"]
        assert len(bundles) == kwargs.get("tensor_parallel_size", 1)
        assert all(kwargs["gpu_memory_utilization"] <= bundle["GPU"] <= 1 for bundle in bundles)


def check_llama_swap(layout, files):
    expected = expected_words(layout)
    for host in layout.hosts:
        (data,) = documents(files[f"llama-swap-{host.label}.yaml"])
        members = [name for group in data["groups"].values() for name in group["members"]]
        assert sorted(members) == sorted(data["models"])
        assert sorted(data["hooks"]["on_startup"]["preload"]) == sorted(members)
        for engine in host.engines:
            model = data["models"][engine.served_name]
            assert "${" not in model["cmd"]
            assert "\n" not in model["cmd"]
            words = shlex.split(model["cmd"])
            if words[0] == "bash":
                continue  # bash itself is asked in another test
            start = next(at for at, word in enumerate(words) if word in {"vllm", "python3"})
            wanted, memory = expected[host.label, engine.port]
            assert without(words[start:], memory) == wanted


def check_prism(layout, files):
    copies = 0
    for host in layout.hosts:
        data = json.loads(files[f"models-{host.label}.json"])
        names = [entry["model_name"] for entry in data]
        assert len(set(names)) == len(names)
        for entry in data:
            copies += len(entry["init_placements"])
            assert all(len(p["gpu_ids"]) == entry["tp_size"] for p in entry["init_placements"])
    assert copies == len(layout.engines)


def check_prometheus(layout, files):
    """Every string of every expression is closed, and each engine's name stands in one."""
    (text,) = files.values()
    rules = documents(text)[0]["groups"][0]["rules"]
    observed = [rule for rule in rules if rule["record"] == "kvplace:observed_kv_used"]
    matcher = re.compile(r'model_name="((?:[^"\\\n]|\\(?:["\\]|u[0-9a-f]{4}|U[0-9a-f]{8}))*)"')
    gpus = {rule["labels"]["gpu"] for rule in observed}
    assert gpus <= {gpu.id for host in layout.hosts for group in host.groups for gpu in group.gpus}
    for rule in observed:
        assert '"' not in matcher.sub("", rule["expr"])


CHECKS = {
    "kvcached": check_kvcached,
    "aibrix": check_aibrix,
    "compose": check_compose,
    "shell": check_shell,
    "kubernetes": check_kubernetes,
    "ray-serve": check_ray,
    "llama-swap": check_llama_swap,
    "prism": check_prism,
    "prometheus": check_prometheus,
}
