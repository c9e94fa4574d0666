"""The server as a process: who may start it, how many it serves at once, and how it stops."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.command import PLURALISM, pluralism
from tests.fake_models import wait_until
from tests.serving_process import POOL, Served, served

KEY = "a-key-of-the-tests-0123456789"
NUMBERS = {"type": "array", "items": {"type": "integer"}, "minItems": 150}
SHAPE = {"type": "object", "properties": {"numbers": NUMBERS}, "required": ["numbers"], "additionalProperties": False}
LONG: dict[str, Any] = {
    "max_tokens": 320,
    "response_format": {"type": "json_schema", "json_schema": {"name": "long", "schema": SHAPE}},
}
"""An answer that cannot end early, and so is still being written when something else happens."""


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("pool") / "pool.toml"
    file.write_text(POOL.format(south=""))
    return file


@pytest.fixture
def narrow(pool: Path) -> Iterator[Served]:
    """One request at a time, one that waits, and small limits."""
    limits = ("--max-running", "1", "--max-waiting", "1", "--max-body", "4096", "--max-prompts", "2", "--grace", "100")
    with served(pool, *limits) as running:
        yield running


class Asked:
    """A request in a thread of its own."""

    def __init__(self, server: Served, **more: Any) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self._sent = {"model": "base", "max_tokens": 4, "messages": [{"role": "user", "content": "Hello"}], **more}
        self._thread = threading.Thread(target=self._ask, args=(server,), daemon=True)
        self._thread.start()

    def _ask(self, server: Served) -> None:
        connection = http.client.HTTPConnection(server.root.removeprefix("http://"), timeout=300)
        body = json.dumps(self._sent)
        connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
        response = connection.getresponse()
        self.status, self.headers = response.status, {key.lower(): value for key, value in response.getheaders()}
        self.body = response.read()

    def done(self) -> Asked:
        self._thread.join(300)
        assert not self._thread.is_alive()
        return self

    @property
    def error(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)["error"]
        return found


def test_too_many_requests_get_429_and_a_stop_lets_running_answers_end(narrow: Served) -> None:
    running = Asked(narrow, **LONG, stream=True, seed=1)
    assert wait_until(lambda: narrow.metric("pluralism_running") == 1, 60)
    waiting = Asked(narrow)
    assert wait_until(lambda: narrow.metric("pluralism_waiting") == 1, 60)

    refused = Asked(narrow).done()
    assert refused.status == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.error["code"] == "queue_full"
    client = openai.OpenAI(base_url=narrow.url, api_key="none", max_retries=0)
    with pytest.raises(openai.RateLimitError, match="ask again"):
        client.chat.completions.create(model="base", messages=[{"role": "user", "content": "Hello"}])

    narrow.process.send_signal(signal.SIGTERM)
    assert wait_until(lambda: any(event["event"] == "stopping" for event in narrow.events), 30)
    late = Asked(narrow).done()
    assert late.status == 503
    assert int(late.headers["retry-after"]) >= 1
    assert late.error["code"] == "stopping"

    assert narrow.wait() == 0
    whole = running.done().body.decode()
    assert running.status == 200
    assert whole.endswith("data: [DONE]\n\n")
    assert waiting.done().status == 200
    assert narrow.events[-1]["event"] == "stopped"


def test_limits_of_a_body_and_of_prompts(narrow: Served) -> None:
    def send(path: str, data: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
        connection = http.client.HTTPConnection(narrow.root.removeprefix("http://"), timeout=60)
        connection.request("POST", path, data, {"content-type": "application/json", **headers})
        response = connection.getresponse()
        return response.status, json.loads(response.read())["error"]

    large = json.dumps({"model": "base", "prompt": "x" * 5000}).encode()
    status, error = send("/v1/completions", large)
    assert (status, error["code"]) == (413, "body_too_large")
    status, error = send("/v1/completions", b'{"model": "base", "prompt": ["a", "b", "c"]}')
    assert (status, error["param"]) == (400, "prompt")
    status, error = send("/v1/completions", b"{}", **{"content-type": "text/plain"})
    assert status == 415
    status, error = send("/v1/completions", b"{}", host="evil.example")
    assert (status, error["code"]) == (403, "foreign_host")


def test_after_the_grace_period_answers_are_told_that_they_will_not_come(pool: Path) -> None:
    with served(pool, "--grace", "0.2") as server:
        streamed = Asked(server, **LONG, stream=True)
        whole = Asked(server, **LONG)
        assert wait_until(lambda: server.metric("pluralism_running") == 2, 60)
        assert wait_until(lambda: server.metric("pluralism_engine_tokens_generated_total") > 4, 60)
        assert server.stop(signal.SIGINT) == 0
        assert whole.done().status == 503
        assert whole.error["code"] == "stopping"
        told = streamed.done().body.decode()
        assert '"code": "stopping"' in told.split("data: ")[-1]
        assert "[DONE]" not in told


def test_only_loopback_is_open_without_a_key(pool: Path) -> None:
    done = pluralism("serve", "--pool", str(pool), "--port", "0", "--host", "0.0.0.0")
    assert done.returncode == 2
    assert "keys are needed" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_key_file_opens_other_addresses_and_prompts_are_logged_on_demand(pool: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys.txt"
    keys.write_text(f"# of the tests\n\n{KEY}\n")
    with served(pool, "--host", "0.0.0.0", "--keys", str(keys), "--log-prompts", "--max-per-key", "1") as server:
        url = server.url.replace("0.0.0.0", "127.0.0.1")
        server.root = url.removesuffix("/v1")
        server.key = KEY
        client = openai.OpenAI(base_url=url, api_key=KEY, max_retries=0)
        settings: dict[str, Any] = {"model": "base", "messages": [{"role": "user", "content": "zebra?"}]}
        with client.chat.completions.create(**LONG, stream=True, **settings) as running:
            next(iter(running))
            with pytest.raises(openai.RateLimitError, match="1 requests of this API key"):
                client.chat.completions.create(**settings)
        assert wait_until(lambda: any("zebra?" in str(event.get("prompt")) for event in server.events), 30)
        assert server.stop() == 0
        assert KEY not in server.log


def test_a_taken_port_is_told(pool: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = pluralism("serve", "--pool", str(pool), "--port", str(port))
    assert done.returncode == 2
    assert f"port {port} cannot be listened at" in done.stderr


def test_what_is_not_installed_is_told(pool: Path, tmp_path: Path) -> None:
    (tmp_path / "fastapi.py").write_text("raise ModuleNotFoundError('No module named fastapi', name='fastapi')")
    # A process that is not forked from one which has imported everything.
    command = [PLURALISM, "serve", "--pool", str(pool)]
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert "pip install 'modular-pluralism[serve]'" in done.stderr
