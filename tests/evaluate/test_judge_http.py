"""The judge against a scripted server on this computer: faults of every kind, a kill in the middle, and the bill."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from radvlm.errors import InputError
from radvlm.evaluate.judge.azure import azure
from radvlm.evaluate.judge.cache import ReplyCache
from radvlm.evaluate.judge.callable import CallableBackend
from radvlm.evaluate.judge.openai_compatible import OpenAICompatible
from radvlm.evaluate.judge.pace import Retry
from radvlm.evaluate.judge.request import Params, Wire
from radvlm.evaluate.judge.runner import CaseOutcome, JudgeRunner, JudgeSettings

FAST = Retry(attempts=6, base_s=0.002, longest_s=0.02)


def pair(i: int) -> tuple[str, str]:
    return (
        f"Case {i}. A {i % 30 + 3} mm nodule in the right upper lobe. Small left pleural effusion.",
        f"Case {i}. A {i % 30 + 3} mm nodule in the left upper lobe. Cholelithiasis.",
    )


def answer(i: int) -> dict[str, Any]:
    """What the scripted judge says about case i: i % 4 errors, of which those of even i are significant."""
    errors = [
        {
            "finding": "nodule",
            "reference_quote": "right upper lobe",
            "candidate_quote": "left upper lobe",
            "reason": "side",
            "category": "wrong_location",
            "significant": i % 2 == 0,
        },
        {
            "finding": "effusion",
            "reference_quote": "Small left pleural effusion",
            "candidate_quote": "",
            "reason": "missing",
            "category": "omission",
            "significant": False,
        },
        {
            "finding": "stones",
            "reference_quote": "",
            "candidate_quote": "Cholelithiasis",
            "reason": "invented",
            "category": "false_finding",
            "significant": i % 3 == 0,
        },
    ][: i % 4]
    return {"errors": errors, "matched_findings": []}


def totals(outcomes: list[CaseOutcome]) -> Counter[str]:
    """Every count summed over cases."""
    out: Counter[str] = Counter()
    for outcome in outcomes:
        assert outcome.judgment is not None
        for category, sides in outcome.judgment.to_dict()["counts"].items():
            for side, n in sides.items():
                out[f"{category} {side}"] += n
    return out


class Server:
    """An OpenAI-compatible server that follows a script and keeps the books.

    ``script(index, stage, visit)`` gives what to do: "good", "malformed", "429", "silent", "cut", or
    (status, headers, body).
    """

    def __init__(self, script: Callable[[int, str, int], Any]) -> None:
        self.script = script
        self.latency_s = 0.0
        self.visits: Counter[tuple[int, str]] = Counter()
        self.made: dict[tuple[int, str], list[str]] = defaultdict(list)
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.lock = threading.Lock()
        self.closing = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: Any) -> None:
                pass

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                try:
                    outer.reply(self, body)
                except OSError:  # the client was killed
                    self.close_connection = True

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass

        self.http = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"
        self.thread = threading.Thread(target=lambda: self.http.serve_forever(0.02), daemon=True)
        self.thread.start()

    def reply(self, handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        found = re.search(r"<reference_report>\s*Case (\d+)", body["messages"][1]["content"])
        index = int(found[1]) if found else -1
        stage = "repair" if len(body["messages"]) > 2 else "first"
        with self.lock:
            visit = self.visits[index, stage]
            self.visits[index, stage] += 1
            self.requests.append((handler.path, {k.lower(): v for k, v in handler.headers.items()}, body))
        action = self.script(index, stage, visit)
        if action == "silent":
            self.closing.wait(30)
            return
        if action == "cut":
            handler.send_response(200)
            handler.send_header("Content-Length", "1000")
            handler.end_headers()
            handler.wfile.write(b"{")
            handler.wfile.flush()
            handler.connection.shutdown(socket.SHUT_RDWR)
            return
        if action == "429":
            action = (429, {"retry-after-ms": "5"}, {"error": {"message": "slow down"}})
        if isinstance(action, tuple):
            self.send(handler, *action)
            return
        text = json.dumps(answer(index)) if action == "good" else '{"errors": [{"finding": "nod'
        with self.lock:
            self.made[index, stage].append(handler.headers.get("Idempotency-Key", ""))
        time.sleep(self.latency_s)  # made, and not yet sent: a kill now loses it
        self.send(
            handler,
            200,
            {},
            {
                "model": "scripted-1",
                "system_fingerprint": "fp",
                "usage": {"prompt_tokens": 100, "completion_tokens": 10},
                "choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
            },
        )

    @staticmethod
    def send(handler: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: Any) -> None:
        data = json.dumps(body).encode()
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def close(self) -> None:
        self.closing.set()
        self.http.shutdown()
        self.http.server_close()
        self.thread.join(2)


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[int, str, int], Any]], Server]]:
    servers: list[Server] = []

    def start(script: Callable[[int, str, int], Any]) -> Server:
        servers.append(Server(script))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def ask(
    server: Server,
    cases: list[int],
    cache: ReplyCache | None = None,
    timeout_s: float = 5.0,
    wire: Wire | None = None,
    **settings: Any,
) -> tuple[list[CaseOutcome], JudgeRunner]:
    backend = OpenAICompatible(server.url, timeout_s=timeout_s, wire=wire or Wire())
    runner = JudgeRunner(backend, JudgeSettings("m", **{"retry": FAST, **settings}), cache)
    return runner.run([pair(i) for i in cases]), runner


CHILD = textwrap.dedent("""
    import importlib.util, sys
    from radvlm.evaluate.judge.cache import ReplyCache
    spec = importlib.util.spec_from_file_location("judge_http", sys.argv[1])
    module = importlib.util.module_from_spec(spec)
    sys.modules["judge_http"] = module
    spec.loader.exec_module(module)
    backend = module.OpenAICompatible(sys.argv[2], timeout_s=2.0)
    settings = module.JudgeSettings("m", retry=module.FAST)
    module.JudgeRunner(backend, settings, ReplyCache(sys.argv[3])).run([module.pair(i) for i in range(1000)])
""")


@pytest.mark.slow
def test_a_thousand_pairs_with_faults_and_a_kill(serve: Any, tmp_path: Path) -> None:
    """5 % malformed, 5 % 429, timeouts, cut connections, kill -9 in the middle: no case lost, none billed twice."""

    def script(index: int, stage: str, visit: int) -> str:
        if index % 20 == 3 and stage == "first":
            return "malformed"
        if index % 20 == 7 and visit == 0:
            return "429"
        if index % 200 == 11 and visit == 0:
            return "silent"
        if index % 100 == 13 and visit == 0:
            return "cut"
        return "good"

    server = serve(script)
    server.latency_s = 0.005
    path = tmp_path / "judge.sqlite"
    child = subprocess.Popen([sys.executable, "-c", CHILD, __file__, server.url, str(path)])
    deadline = time.monotonic() + 60
    while len(server.made) < 450 and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert 450 <= len(server.made) < 1000
    time.sleep(0.1)
    before = {key: len(keys) for key, keys in server.made.items()}

    with ReplyCache(path) as cache:
        kept = cache.count()
        assert kept >= 400
        assert 1 <= cache.interrupted <= 8  # only what was under way, and all of it by name
        outcomes, runner = ask(server, list(range(1000)), cache, timeout_s=2.0)
        assert Counter(o.status for o in outcomes) == {"ok": 1000}
        assert sum(o.repaired for o in outcomes) == 50
        repeated = {key for key, keys in server.made.items() if len(keys) > 1}
        # Billed once: whatever was made twice carried the same idempotency key, and was under way at the kill.
        assert all(len(set(keys)) == 1 and keys[0] for keys in server.made.values())
        question = JudgeSettings("m").request
        assert all(cache.history(question(*pair(i)).key)[0] >= 1 for i, stage in repeated if stage == "first")
        assert len(server.made) == 1050  # 1000 answers and 50 repairs
        assert sum(len(k) - before.get(key, 0) for key, k in server.made.items()) <= 1050 - kept + cache.interrupted

        clean = JudgeRunner(CallableBackend(scripted), JudgeSettings("m", concurrency=1)).run(
            [pair(i) for i in range(1000)]
        )
        assert totals(outcomes) == totals(clean)
        assert sum(totals(outcomes).values()) == sum(i % 4 for i in range(1000))
        assert [o.judgment for o in outcomes] == [o.judgment for o in clean]

        made = sum(map(len, server.made.values()))
        again, runner = ask(server, list(range(1000)), cache)  # everything is kept: not one request more
        assert [o.judgment for o in again] == [o.judgment for o in outcomes]
        assert sum(map(len, server.made.values())) == made
        assert runner.tally.events["sent"] == 0


def scripted(messages: Any) -> str:
    found = re.search(r"<reference_report>\s*Case (\d+)", messages[1]["content"])
    assert found
    return json.dumps(answer(int(found[1])))


def test_every_way_to_fail_is_a_status_and_never_zero_errors(serve: Any) -> None:
    def script(index: int, stage: str, visit: int) -> Any:
        return {
            0: "good",
            1: "malformed" if stage == "first" else "good",
            3: "429",
            4: (400, {}, {"error": {"message": "maximum context length exceeded"}}),
            5: (400, {}, {"error": {"message": "no", "code": "content_filter"}}),
            6: (500, {}, {"error": "broken"}),
            7: (200, {}, {"choices": []}),
            8: "cut",
            9: (200, {}, completion("", finish="length")),
            10: (200, {}, completion("", refusal="I will not")),
            11: (200, {}, completion("", finish="content_filter")),
            12: "silent",
            13: (200, {}, completion('{"errors": []}')),
        }.get(index, "good")

    server = serve(script)
    outcomes, _ = ask(server, list(range(14)), timeout_s=0.5, retry=Retry(2, 0.001, 0.01))
    assert [o.status for o in outcomes] == [
        "ok",
        "ok",
        "ok",
        "rate_limited",
        "rejected",
        "filtered",
        "server_error",
        "server_error",
        "unreachable",
        "malformed",
        "refused",
        "filtered",
        "timeout",
        "malformed",
    ]
    assert all((o.judgment is None) == (o.status != "ok") for o in outcomes)
    assert "cut off after 4096 tokens" in outcomes[9].reason
    assert "matched_findings: Field required" in outcomes[13].reason
    assert server.visits[3, "first"] == 2 and server.visits[4, "first"] == 1
    assert server.visits[13, "repair"] == 1 and server.visits[9, "repair"] == 0


def completion(text: str, finish: str = "stop", refusal: str | None = None) -> dict[str, Any]:
    return {"choices": [{"message": {"content": text, "refusal": refusal}, "finish_reason": finish}]}


def test_failed_cases_are_tried_again_and_kept_answers_only_on_request(serve: Any, tmp_path: Path) -> None:
    broken = True
    server = serve(lambda i, stage, visit: ("429" if i == 0 else "malformed") if broken else "good")
    with ReplyCache(tmp_path / "c") as cache:
        first, _ = ask(server, [0, 1], cache, retry=Retry(2, 0.001, 0.01))
        broken = False
        assert [o.status for o in first] == ["rate_limited", "malformed"]
        second, _ = ask(server, [0, 1], cache)
        assert [o.status for o in second] == ["ok", "malformed"]  # kept: asking again would be paid again
        third, _ = ask(server, [0, 1], cache, retry_failed=True)
        assert [o.status for o in third] == ["ok", "ok"]
        keys = server.made[1, "first"]
        assert len(keys) == 2 and keys[0] != keys[1]  # a new question for the bill


def test_lost_replies_are_not_asked_for_again_if_so_wished(serve: Any, tmp_path: Path) -> None:
    server = serve(lambda i, stage, visit: "cut" if visit == 0 else "good")
    with ReplyCache(tmp_path / "c") as cache:
        outcomes, _ = ask(server, [1], cache, resend_lost=False)
        assert outcomes[0].status == "lost" and server.visits[1, "first"] == 1 and cache.lost() == 1
        outcomes, _ = ask(server, [1], cache)
        assert outcomes[0].status == "ok"
    ids = [h["idempotency-key"] for _, h, _ in server.requests]
    assert len(ids) == 2 and ids[0] == ids[1]


def test_retry_after_holds_back_and_a_long_one_ends_the_case(serve: Any) -> None:
    server = serve(
        lambda i, stage, visit: (
            (429, {"Retry-After": "1"}, {})
            if i == 1 and visit == 0
            else (429, {"Retry-After": "9999"}, {})
            if i == 2
            else "good"
        )
    )
    start = time.monotonic()
    outcomes, _ = ask(server, [1])
    assert outcomes[0].status == "ok" and time.monotonic() - start >= 1.0
    start = time.monotonic()
    outcomes, _ = ask(server, [2])
    assert outcomes[0].status == "rate_limited" and time.monotonic() - start < 5.0


def test_a_wrong_key_stops_at_once_and_says_so(serve: Any) -> None:
    server = serve(lambda i, stage, visit: (401, {}, {"error": {"message": "bad key"}}))
    with pytest.raises(InputError, match=r"HTTP 401: bad key.*nothing was judged"):
        ask(server, list(range(200)))
    assert len(server.requests) <= 16


def test_a_server_that_rejects_everything_is_not_asked_a_thousand_times(serve: Any) -> None:
    server = serve(lambda i, stage, visit: (400, {}, {"error": {"message": "temperature must be 1"}}))
    with pytest.raises(InputError, match=r"requests were all rejected; HTTP 400: temperature must be 1"):
        ask(server, list(range(500)))
    assert len(server.requests) <= 40


def test_an_empty_account_ends_the_rest_as_not_sent(serve: Any) -> None:
    quota = (429, {}, {"error": {"message": "no money", "code": "insufficient_quota"}})
    server = serve(lambda i, stage, visit: quota if i >= 20 else "good")
    outcomes, _ = ask(server, list(range(100)), concurrency=2)
    statuses = Counter(o.status for o in outcomes)
    assert statuses["ok"] == 20 and statuses["rate_limited"] <= 2 and statuses["not_sent"] >= 78


def test_no_server_is_one_clear_message() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    runner = JudgeRunner(OpenAICompatible(url), JudgeSettings("m", retry=FAST))
    with pytest.raises(InputError, match=r"connections failed one after the other.*refused"):
        runner.run([pair(i) for i in range(100)])
    assert runner.cache.lost() == 0  # a refused connection carried nothing


def test_the_request_is_what_servers_expect_and_adapts(serve: Any) -> None:
    def script(index: int, stage: str, visit: int) -> Any:
        body = server.requests[-1][2]
        if "max_tokens" in body:
            return 400, {}, {"error": {"message": "Use 'max_completion_tokens' instead."}}
        if body.get("response_format", {}).get("type") == "json_schema":
            return 400, {}, {"error": {"message": "response_format json_schema is not supported"}}
        if "seed" in body:
            return 422, {}, {"detail": "unknown field: seed"}
        return "good"

    server = serve(script)
    outcomes, runner = ask(server, [1, 2], concurrency=1, params=Params(temperature=None))
    assert [o.status for o in outcomes] == ["ok", "ok"]
    path, headers, first = server.requests[0]
    assert path == "/v1/chat/completions" and "authorization" not in headers
    assert first["model"] == "m" and first["seed"] == 0 and "temperature" not in first
    assert first["response_format"]["json_schema"]["strict"] is True
    assert [m["role"] for m in first["messages"]] == ["system", "user"]
    assert len(server.requests) == 5  # the second case goes straight to the form that works
    assert runner.backend.describe()["requests"] == [
        {"output": "json_object", "max_tokens_field": "max_completion_tokens", "send_seed": False}
    ]


def test_azure_address_and_headers(serve: Any) -> None:
    server = serve(lambda i, stage, visit: "good")
    root = server.url.removesuffix("/v1")
    for backend in (
        azure(root, "gpt 4", "2024-10-21", api_key="K"),
        azure(root, "gpt 4", "2024-10-21", token=lambda: "T"),
    ):
        assert JudgeRunner(backend, JudgeSettings("gpt 4")).run([pair(1)])[0].status == "ok"
    (path, first, _), (_, second, _) = server.requests
    assert path == "/openai/deployments/gpt%204/chat/completions?api-version=2024-10-21"
    assert first["api-key"] == "K" and second["authorization"] == "Bearer T" and "api-key" not in second
    with pytest.raises(InputError, match="one of them"):
        azure(root, "d", "v")


def test_redirects_are_refused(serve: Any) -> None:
    server = serve(lambda i, stage, visit: (302, {"Location": "http://127.0.0.1:9/elsewhere"}, {}))
    with pytest.raises(InputError, match="HTTP 302"):
        ask(server, [1])


def test_rate_caps_space_requests_out(serve: Any) -> None:
    server = serve(lambda i, stage, visit: "good")
    start = time.monotonic()
    outcomes, _ = ask(server, list(range(6)), requests_per_minute=1200)
    assert time.monotonic() - start >= 5 * 0.05
    assert all(o.status == "ok" for o in outcomes)
