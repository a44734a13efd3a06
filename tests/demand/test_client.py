"""Every way in which a server can fail is one clear line."""

import gzip
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

import pytest
from exporter import free_port, serve

from kvplace.demand.prometheus import client as client_module
from kvplace.demand.prometheus.client import Access, PrometheusClient
from kvplace.demand.prometheus.prometheus import read_prometheus
from kvplace.errors import InputError

pytest.importorskip("httpx_retries", reason="reading Prometheus needs the extra 'prometheus'")

FAST = Access(timeout_seconds=0.5, retries=2)
NAMES = ["vllm:request_success_total", "vllm:prompt_tokens_total"]


class _Seen(list):
    """What was asked, and by which server."""

    running = None


@contextmanager
def server(answer):
    """Serve `answer(path, query) -> (status, headers, body)` and count the requests."""
    seen = _Seen()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length).decode()
            seen.append((self.path, dict(self.headers)))
            query = parse_qs(body or urlsplit(self.path).query)
            status, headers, text = answer(urlsplit(self.path).path, query)
            data = text.encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_GET  # noqa: N815 - the name that http.server calls

        def log_message(self, *_args):
            pass

    running = seen.running = serve(Handler)
    try:
        yield f"http://127.0.0.1:{running.server_address[1]}", seen
    finally:
        running.shutdown()
        running.server_close()


def ok(data, **more) -> tuple[int, dict, str]:
    return 200, {}, json.dumps({"status": "success", "data": data, **more})


def refusal(url, access=FAST) -> str:
    with pytest.raises(InputError) as caught:
        read_prometheus(url, end=1e9, window_seconds=3600, access=access)
    (line,) = caught.value.lines()
    assert "\n" not in line
    return line


def test_a_wrong_address_is_one_line():
    line = refusal(f"http://127.0.0.1:{free_port()}")
    assert "cannot be reached" in line
    assert "check the address" in line


@pytest.mark.parametrize(
    "url",
    [
        "prometheus:9090", "ftp://host", "http://", "http://[::1", "http://h:70000", "http://a b",
        "http://..", "http://h\n",
    ],
)  # fmt: skip
def test_what_is_no_address_is_one_line(url):
    assert "is no address" in refusal(url)


@pytest.mark.parametrize("status", [401, 403])
def test_refused_access_is_one_line_and_not_retried(status):
    with server(lambda *_: (status, {}, "no")) as (url, seen):
        line = refusal(url)
    assert f"access is refused ({status})" in line
    assert len(seen) == 1


def test_server_errors_are_retried_and_then_told():
    with server(lambda *_: (500, {}, json.dumps({"error": "out of disk"}))) as (url, seen):
        line = refusal(url)
    assert "it fails with 500 after 2 retries: out of disk" in line
    assert len(seen) == 3


def test_a_passing_error_is_retried_and_forgotten():
    answers = iter([(503, {}, ""), (200, {}, json.dumps({"status": "success", "data": []}))])
    with server(lambda *_: next(answers)) as (url, _seen), PrometheusClient(url, FAST) as client:
        assert client.names("{}", 0, 1) == frozenset()


def test_a_slow_answer_is_one_line():
    def slow(*_):
        time.sleep(1.0)
        return 200, {}, ""

    with server(slow) as (url, _seen):
        assert "no answer within 0.5 s" in refusal(url)


def test_an_empty_result_is_one_line():
    with server(lambda *_: ok([])) as (url, _seen):
        line = refusal(url)
    assert "no request of a known engine or gateway" in line
    assert "vllm:request_success_total" in line


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((200, {}, '{"status": "success", "data": ['), "not an answer of the Prometheus API"),
        ((200, {"Content-Length": "999"}, '{"status"'), "the answer broke off"),
        ((200, {}, "<html>please log in</html>"), "not an answer of the Prometheus API"),
        ((200, {}, "[]"), "not an answer"),
        (ok({"resultType": "matrix"}), "a list of names is missing"),
        (ok([], warnings=["store 10.0.0.7 is down"]), "only in part: store 10.0.0.7 is down"),
        ((404, {}, "not found"), "give the address before /api/v1"),
        ((302, {"Location": "http://sso"}, ""), "it redirects to http://sso"),
        ((422, {}, '{"status": "error", "error": "bad query\\nmore"}'), "422: bad query"),
    ],
)
def test_a_half_broken_answer_is_one_line(answer, told):
    with server(lambda *_: answer) as (url, _seen):
        assert told in refusal(url)


@pytest.mark.parametrize(
    "result", [[{"metric": {}}], [{"metric": {}, "values": [[1]]}], [1], {"a": 1}, None]
)
def test_a_damaged_result_is_one_line(result):
    def answer(path, _query):
        return (
            ok(NAMES) if path.endswith("values") else ok({"resultType": "matrix", "result": result})
        )

    with server(answer) as (url, _seen):
        assert "not an answer of the Prometheus API" in refusal(url)


def test_a_model_without_tokens_is_told_with_its_name():
    def answer(path, query):
        if path.endswith("values"):
            return ok(NAMES[:1])
        start, end = float(query["start"][0]), float(query["end"][0])
        plain = query["query"][0].startswith("{")
        values = [[start, "1"], [end, "500"]]
        series = [{"metric": {"model_name": "org/m"}, "values": values}]
        return ok({"resultType": "matrix", "result": series if plain else []})

    with server(answer) as (url, _seen), pytest.raises(InputError) as caught:
        read_prometheus(url, end=1e9, window_seconds=3600, access=FAST)
    lines = caught.value.lines()
    assert len(lines) == 2
    assert "org/m: it has requests, but no prompt tokens" in lines[0]
    assert "org/m: it has requests, but no output tokens" in lines[1]


def test_tokens_and_passwords_are_sent_and_never_shown():
    with server(lambda *_: (401, {}, "")) as (url, seen):
        line = refusal(url, Access(bearer_token="t0ken", retries=0))
        assert "t0ken" not in line
        line = refusal(url.replace("//", "//user:s3cret@"), Access(retries=0))
        assert "s3cret" not in line
        assert "s3cret" not in repr(Access(user="u", password="s3cret"))
    headers = [{k.lower(): v for k, v in h.items()} for _, h in seen]
    assert headers[0]["authorization"] == "Bearer t0ken"
    assert headers[1]["authorization"].startswith("Basic ")


def test_a_file_that_is_no_certificate_is_one_line(tmp_path):
    wrong = tmp_path / "ca.pem"
    for text in (None, "no certificate"):
        if text:
            wrong.write_text(text)
        with pytest.raises(InputError) as caught:
            PrometheusClient("https://host", Access(ca_file=wrong))
        assert len(caught.value.lines()) == 1


def test_all_faults_of_a_question_are_told_at_once():
    with pytest.raises(InputError) as caught:
        read_prometheus("http://host", end=1e9, window_seconds=10, matchers=["x", 'a="b"'])
    assert len(caught.value.lines()) == 2


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_a_certificate_is_checked_against_the_given_authority(tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    more = ["-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate]
    subprocess.run([*make.split(), *more], check=True, capture_output=True)
    with server(lambda *_: ok([])) as (url, seen):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        seen.running.socket = context.wrap_socket(seen.running.socket, server_side=True)
        secure = url.replace("http://127.0.0.1", "https://localhost")
        assert "certificate verify failed" in refusal(secure, Access(retries=0))
        trusting = (Access(ca_file=certificate), Access(verify=False))
        for access in trusting:
            assert "no request of a known engine" in refusal(secure, access)


def test_what_a_counter_gains_before_it_ends_or_after_it_appears_amid_a_window_counts():
    """An engine that is replaced ends its counters and begins new ones between two points."""

    def answer(path, query):
        if path.endswith("values"):
            return ok([*NAMES, "vllm:generation_tokens_total"])
        start = float(query["start"][0])
        first, second, third = start, start + 300, start + 600
        old, new = {"model_name": "m", "pod": "old"}, {"model_name": "m", "pod": "new"}
        asked = query["query"][0]
        if asked.startswith("{"):
            found = [(old, [[first, "100"]]), (new, [[third, "50"]])]
        elif asked.startswith("last_over_time"):
            found = [(old, [[second, "130"]])]
        elif asked.startswith("min_over_time"):
            found = [(new, [[third, "5"]])]
        else:
            found = []
        result = [{"metric": labels, "values": values} for labels, values in found]
        if path.endswith("/query"):
            return ok({"resultType": "vector", "result": []})
        return ok({"resultType": "matrix", "result": result})

    with server(answer) as (url, _seen):
        span = {"end": 9e8, "window_seconds": 600, "step_seconds": 300}
        series = read_prometheus(url, access=FAST, **span)
    assert series.requests.tolist() == [[30, 45]]


def counting(slopes, asked=None):
    """Answer for counters that grow evenly: by name, a list of labels and gains per second."""

    def answer(path, query):
        if path.endswith("values"):
            return ok([name for name in slopes if name in query["match[]"][0]])
        if path.endswith("query"):
            return ok({"resultType": "vector", "result": []})
        text = query["query"][0]
        start, end, step = (float(query[key][0]) for key in ("start", "end", "step"))
        result = []
        if text.startswith("{"):
            name = text.partition('"')[2].partition('"')[0]
            times = [start + i * step for i in range(round((end - start) / step) + 1)]
            result = [
                {"metric": {"__name__": name, **labels},
                 "values": [[t, str(gain * (t - 1e8))] for t in times]}
                for labels, gain in slopes[name]
            ]  # fmt: skip
        return ok({"resultType": "matrix", "result": result})

    return answer


def read(slopes):
    with server(counting(slopes)) as (url, _seen):
        series = read_prometheus(url, end=1e9, window_seconds=3600, access=FAST)
    seconds = series.total_seconds
    return series, {
        model: tuple(float(part[row].sum() / seconds) for part in
                     (series.requests, series.prompt_tokens, series.output_tokens))
        for row, model in enumerate(series.models)
    }  # fmt: skip


M = {"model_name": "m"}


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (("vllm:request_success_total", "vllm:prompt_tokens_total",
          "vllm:generation_tokens_total"), M),
        (("ray_vllm_request_success_total", "ray_vllm_prompt_tokens_total",
          "ray_vllm_generation_tokens_total"), {**M, "ReplicaId": "r1"}),
        (("trtllm_request_success_total", "trtllm_prompt_tokens_total",
          "trtllm_generation_tokens_total"), M),
        (("tgi_request_success", "tgi_request_input_length_sum",
          "tgi_request_generated_tokens_sum"), {"job": "m"}),
        (("dynamo_frontend_requests_total", "dynamo_frontend_input_sequence_tokens_sum",
          "dynamo_frontend_output_sequence_tokens_sum"), {"model": "m"}),
        (("litellm_proxy_total_requests_metric_total", "litellm_input_tokens_metric_total",
          "litellm_output_tokens_metric_total"), {"requested_model": "m"}),
    ],
    ids=["vllm", "ray", "trtllm", "tgi", "dynamo", "litellm"],
)  # fmt: skip
def test_every_engine_and_gateway_is_read(names, labels):
    slopes = dict(zip(names, ([(labels, gain)] for gain in (2.0, 800.0, 100.0)), strict=True))
    _series, rates = read(slopes)
    assert rates == {"m": pytest.approx((2, 800, 100))}


@pytest.mark.parametrize(
    ("prefill", "decode"),
    [
        ({"role": "prefill"}, {"role": "decode"}),
        ({"engine_type": "prefill"}, {"engine_type": "decode"}),
        ({"pod": "llm-prefill-0"}, {"pod": "llm-decode-0"}),
        ({"dynamo_component": "prefill"}, {"dynamo_component": "decode"}),
    ],
)
def test_prefill_and_decode_workers_are_counted_once(prefill, decode):
    before, after = {**M, **prefill}, {**M, **decode}
    series, rates = read(
        {
            "vllm:request_success_total": [(before, 0.5), (after, 0.5)],
            "vllm:prompt_tokens_total": [(before, 500), (after, 500)],
            "vllm:generation_tokens_total": [(before, 0.5), (after, 50)],
        }
    )
    assert rates == {"m": pytest.approx((0.5, 500, 50))}
    assert any("counted once: m" in note for note in series.notes)


def test_workers_that_do_both_are_all_counted():
    series, rates = read(
        {
            f"vllm:{name}_total": [({**M, "pod": f"llm-{i}", "role": "both"}, gain) for i in (0, 1)]
            for name, gain in (("request_success", 1), ("prompt_tokens", 9),
                               ("generation_tokens", 3))
        }
    )  # fmt: skip
    assert rates == {"m": pytest.approx((2, 18, 6))}
    assert not any("counted once" in note for note in series.notes)


def test_a_gateway_is_not_counted_beside_its_engines():
    slopes = {
        "vllm:request_success_total": [(M, 1)],
        "vllm:prompt_tokens_total": [(M, 10)],
        "vllm:generation_tokens_total": [(M, 5)],
        "dynamo_frontend_requests_total": [({"model": "m"}, 1)],
    }
    assert read(slopes)[1] == {"m": pytest.approx((1, 10, 5))}


def test_llama_cpp_is_told_that_it_counts_no_requests():
    with server(counting({"llamacpp:prompt_tokens_total": [({}, 1)]})) as (url, _seen):
        assert "llama.cpp is seen, which counts no requests" in refusal(url)


class _Endless:
    """A server that sends one piece again and again, with a pause between."""

    def __init__(self, head: bytes, piece: bytes, pause: float) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self._what = head, piece, pause
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        head, piece, pause = self._what
        while not self._over.is_set():
            try:
                connection, _ = self.listener.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(head)
                    while not self._over.wait(pause):
                        connection.sendall(piece)
            except OSError:
                continue

    def __enter__(self):
        return self

    def __exit__(self, *_args):
        self._over.set()
        self.listener.close()
        self._thread.join(5)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (HEAD + b"\r\n", b" "),
        (HEAD, b"x-a: b\r\n"),
        (b"HTTP/1.1 200 OK\r\n", b"x"),
        (b"", b"H"),
    ],
    ids=["body", "headers", "one header", "status line"],
)
def test_an_answer_that_drips_ends_in_time(head, piece):
    begin = time.perf_counter()
    with _Endless(head, piece, 0.05) as endless:
        line = refusal(endless.url, Access(timeout_seconds=0.5, retries=0))
    assert any(told in line for told in ("no answer within 0.5 s", "broke off"))
    assert time.perf_counter() - begin < 10


def test_an_answer_without_end_is_not_kept(monkeypatch):
    monkeypatch.setattr(client_module, "_LARGEST_ANSWER", 2**20)
    with _Endless(HEAD + b"\r\n", b" " * 65536, 0.0) as endless:
        line = refusal(endless.url, Access(timeout_seconds=20, retries=0))
    assert "longer than 1 MiB" in line


def test_a_compressed_answer_is_measured_unpacked(monkeypatch):
    monkeypatch.setattr(client_module, "_LARGEST_ANSWER", 2**20)
    bomb = gzip.compress(bytes(2**24))
    head = HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    with _Endless(head + bomb, b"", 0.1) as endless:
        assert "longer than 1 MiB" in refusal(endless.url, Access(timeout_seconds=20, retries=0))


@pytest.mark.parametrize(
    "values",
    [
        [["1e400", "1"]], [[10**400, "1"]], [["nan", "1"]], [[5, "1"]], [[-1e300, "1"]],
        [[None, "1"]], [["1", None]], [[1e9, {}]], "x", {"a": 1}, [[1e9]], [[]],
    ],
)  # fmt: skip
def test_samples_that_are_none_are_one_line(values):
    def answer(path, _query):
        if path.endswith("values"):
            return ok(NAMES)
        body = {"resultType": "matrix", "result": [{"metric": M, "values": values}]}
        return ok(body)

    with server(answer) as (url, _seen):
        refusal(url)


@pytest.mark.parametrize(
    "body",
    ["[" * 100_000, '{"status": "success", "data": []' + ', "warnings": {"a": 1}}',
     '{"status": "success", "data": [], "warnings": "x"}', '{"error": {"a": 1}}', "\u0000", "NaN"],
)  # fmt: skip
def test_any_body_is_one_line(body):
    with server(lambda *_: (200, {}, body)) as (url, _seen):
        refusal(url)


def test_a_pause_of_a_day_is_not_kept():
    headers = {"Retry-After": "86400"}
    begin = time.perf_counter()
    with server(lambda *_: (503, headers, "")) as (url, _seen):
        refusal(url, Access(timeout_seconds=0.5, retries=1))
    assert time.perf_counter() - begin < 60
