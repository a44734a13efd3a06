"""Shell scripts and systemd units that start engines."""

import re
import shlex
from collections.abc import Iterator, Mapping

from kvplace.scaffold.deployments.command_line.variables import fill
from kvplace.scaffold.deployments.deployment import Deployment, Entry, Unread
from kvplace.scaffold.deployments.started import started

_START = re.compile(
    r"\b(vllm serve|api_server|sglang\.launch_server|trtllm-serve|lmdeploy serve|llama-server|"
    r"text-generation-launcher|ollama serve|aphrodite run|(docker|podman|nerdctl) run)\b"
)
_CONTINUED = "\ue002"
"""In the place of the end of a line that goes on in the next."""
_BEFORE = ("env", "exec", "nohup", "sudo", "time", "numactl", "if", "while", "until", "!", "then")
_SPEAKS = re.compile(
    r"echo|printf|(log|info|warn|error|die|fail|print|say)\w*|p?kill|killall|pgrep|e?grep|ps|which|"
    r"command|test|\[{1,2}|cat|read|return|exit|pip3?|uv"
)
"""Words that begin a command which names an engine and starts none."""
_ELSEWHERE = ("tmux", "screen", "ssh")
"""Words that begin a command which has another as one of its words."""
_BRANCH = re.compile(r"^[ \t]*(else|elif\b.*|\S+\))[ \t]*$", re.MULTILINE)
_FOR = re.compile(r"[ \t]*for[ \t]+([A-Za-z_]\w*)[ \t]+in[ \t]+([^;]+?)[ \t]*;?(?:[ \t]*do)?[ \t]*")
_LOOP = re.compile(r"[ \t]*(for|while|until|select)\b")
_RANGE = re.compile(r"\{(\d{1,3})\.\.(\d{1,3})\}|\$\(seq[ \t]+(?:(\d{1,3})[ \t]+)?(\d{1,3})\)")
_MOST_TURNS = 64
_FILE = re.compile(
    r"^[ \t]*(?:docker[ -]compose|kubectl|helm|serve deploy|oc)\b.*?"
    r"(?:(?:-f|--file|--values)[ =]|deploy )\"?([^\s\"$]+\.ya?ml)",
    re.MULTILINE,
)
_DECLARE = ("export", "readonly", "local", "declare")
_ASSIGNED = re.compile(r"\s*(?:export\s+|readonly\s+)?([A-Za-z_]\w*)=(.*)", re.ASCII)
_ARRAY = re.compile(
    r"^[ \t]*(?:(?:local|declare|readonly)[ \t]+(?:-\w+[ \t]+)?)?([A-Za-z_]\w*)(\+?)=\(",
    re.ASCII | re.MULTILINE,
)
_ALL_OF = re.compile(r"\$\{([A-Za-z_]\w*)\[[@*]\]\}", re.ASCII)
_UNIT = re.compile(r"^\s*\[(Unit|Service|Container)\]\s*$", re.MULTILINE)
_EXEC = re.compile(r"^\s*Exec\w+=", re.MULTILINE)
_LONGEST_ARRAY = 2**14


def read_script(text: str) -> Deployment | None:
    """Read a shell script that starts engines; None where it starts none."""
    entries: list[Entry] = []
    known: dict[str, str] = {}
    exported: set[str] = set()
    arrays: dict[str, list[str]] = {}
    for number, line in _unrolled(list(_lines(text))):
        name = f"line {number}"
        array = _ARRAY.match(line)
        if array:
            _keep(array, line[array.end() :], arrays, known)
            continue
        starts = _START.search(line) or any(f"${{{name}[" in line for name in arrays)
        starts = starts and not line.lstrip().startswith("#")
        try:
            words = _words(re.split(r" \d?>", line.rstrip().rstrip("&"))[0], arrays, known)
        except ValueError as error:
            entries += [Unread(name, str(error), None, None)] if starts else []
            continue
        if not starts:
            pairs = [_ASSIGNED.fullmatch(word) for word in words if word not in _DECLARE]
            known |= {pair[1]: pair[2] for pair in pairs if pair} if all(pairs) else {}
            if words[:1] == ["export"]:
                exported |= {word.partition("=")[0] for word in words[1:]}
            continue
        environment = {key: value for key, value in known.items() if key in exported}
        while words and (words[0] in _BEFORE or "=" in words[0]):
            key, mark, value = words[0].partition("=")
            if mark:
                environment[key] = value
            words = words[1:]
        if words and words[0] in _ELSEWHERE:
            words = next((shlex.split(word) for word in words if _START.search(word)), [])
        if words and not _SPEAKS.fullmatch(words[0]) and _START.search(" ".join(words)):
            entries += started(name, words, environment, gpu=False, first=True)
    if not entries:
        return None
    branches = len(entries) > 1 and _BRANCH.search(text) is not None
    notes = ("the script has branches; what each of them starts is taken as running",)
    return Deployment("script", (), notes=notes if branches else ()).of(entries)


def started_elsewhere(text: str) -> str:
    """Return the file that a script gives to what starts engines; empty where it names none."""
    found = _FILE.search(re.sub(r"\\\r?\n", " ", text))
    return found[1] if found else ""


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield each line with its number; what goes on in further lines, arrays too, as one."""
    number = 1
    pending, begun = "", 1
    for whole_line in re.sub(r"\\\r?\n", _CONTINUED, text).splitlines():
        line, here = whole_line.replace(_CONTINUED, " "), number
        number += 1 + whole_line.count(_CONTINUED)
        if pending:
            pending += "\n" + line
            if _closed(pending) or len(pending) > _LONGEST_ARRAY:
                yield begun, pending
                pending = ""
        elif _ARRAY.match(line) and not _closed(line):
            pending, begun = line, here
        else:
            yield here, line
    if pending:
        yield begun, pending


def _unrolled(lines: list[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Yield lines, those of a loop over words that are written there once for each word."""
    at = 0
    while at < len(lines):
        number, line = lines[at]
        head = _FOR.fullmatch(line)
        turns, end = (_turns(head[2]), _end(lines, at)) if head else ([], at)
        if head is None or not turns or end == at:
            yield number, line
            at += 1
            continue
        for word in turns:
            yield number, f"{head[1]}={shlex.quote(word)}"
            yield from lines[at + 1 : end]
        at = end + 1


def _turns(text: str) -> list[str]:
    """Return the words that a loop goes through; none where they are not written there."""
    found = _RANGE.fullmatch(text)
    if found:
        first, last = int(found[1] or found[3] or "1"), int(found[2] or found[4])
        return [str(n) for n in range(first, last + 1)][:_MOST_TURNS]
    try:
        words = shlex.split(text)
    except ValueError:
        return []
    plain = not any(set(word) & set("$`*?{") for word in words)
    return words if plain and len(words) <= _MOST_TURNS else []


def _end(lines: list[tuple[int, str]], at: int) -> int:
    """Return where the loop that begins at a line ends; the line itself where it does not."""
    depth = 0
    for place in range(at, len(lines)):
        line = lines[place][1]
        depth += (_LOOP.match(line) is not None) - line.split("#")[0].split().count("done")
        if not depth:
            return place
    return at


def _closed(text: str) -> bool:
    """Say whether an array ends in this text: with a bracket outside quotes and comments."""
    try:
        return _inside(text[text.index("(") + 1 :]) is not None
    except ValueError:
        return False


def _inside(text: str) -> list[str] | None:
    """Return the words of an array up to its closing bracket; None where it is not there yet."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars="()")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    words: list[str] = []
    for word in lexer:
        if word.startswith(")"):
            return words
        words.append(word)
    return None


def _keep(
    array: "re.Match[str]", rest: str, arrays: dict[str, list[str]], known: Mapping[str, str]
) -> None:
    """Keep the words of an array, or add them to those it has."""
    try:
        inside = _inside(rest)
    except ValueError:
        return
    if inside is not None:
        before = arrays.get(array[1], []) if array[2] else []
        arrays[array[1]] = [*before, *_filled(inside, arrays, known)]


def _words(line: str, arrays: Mapping[str, list[str]], known: Mapping[str, str]) -> list[str]:
    """Return the words of a line, variables and arrays put in."""
    return _filled(shlex.split(line, comments=True), arrays, known)


def _filled(
    words: list[str], arrays: Mapping[str, list[str]], known: Mapping[str, str]
) -> list[str]:
    found: list[str] = []
    for word in words:
        every = _ALL_OF.fullmatch(word)
        if every and every[1] in arrays:
            found += arrays[every[1]]
        else:
            found.append(fill(word, known, lambda _: None) if "$" in word else word)
    return found


def is_unit(text: str) -> bool:
    """Say whether a text is a unit of systemd."""
    return _UNIT.search(text) is not None and _EXEC.search(text) is not None


def read_unit(text: str) -> Deployment | None:
    """Read a unit of systemd that starts an engine; None where it starts none."""
    script = []
    for _, line in _lines(text):
        key, _, value = line.strip().partition("=")
        if key == "Environment":
            try:
                pairs = shlex.split(value)
            except ValueError:
                continue
            script += [f"export {shlex.quote(pair)}" for pair in pairs if "=" in pair]
        elif key == "ExecStart":
            script.append(value.lstrip("-@:+!"))
    found = read_script("\n".join(script))
    return (
        None if found is None else Deployment("systemd", ()).of([*found.instances, *found.unread])
    )
