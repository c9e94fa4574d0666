"""What Prometheus may ask: requests, tokens, who waits, and what the engines have done."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from modular_pluralism.llama import ChatLlama
from modular_pluralism.serving.limits import Gate
from modular_pluralism.serving.request_log import Exchange

_SECONDS = (0.005, 0.02, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_ENGINE_COUNTS = {
    "requests": "Requests to the engine; a run of a mode makes many.",
    "failed": "Requests to the engine that failed.",
    "tokens_read": "Tokens that went through the model, prompts and generated ones.",
    "tokens_reused": "Prompt tokens that were in the cache already.",
    "tokens_generated": "Tokens generated.",
    "steps": "Decoding steps.",
}
_ENGINE_STATES = {"threads": "Threads that decode; fewer than at the start while other processes take cores."}


class Metrics:
    """A registry of its own, so that two servers in one process do not mix theirs. `models` are the ids that are told
    apart."""

    def __init__(self, gate: Gate, embedded: Sequence[ChatLlama], models: Collection[str]) -> None:
        self._models = models
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "pluralism_requests", "Requests answered.", ["path", "model", "status"], registry=self._registry
        )
        self._seconds, self._first = (
            Histogram(
                f"pluralism_{name}_seconds",
                f"Seconds from a request's arrival to the {end} of its answer.",
                ["path", "model"],
                buckets=_SECONDS,
                registry=self._registry,
            )
            for name, end in (("request", "end"), ("first_part", "first part"))
        )
        self._tokens = Counter(
            "pluralism_tokens",
            "Tokens of answers: of the prompt, of these from the cache, and of the text.",
            ["model", "kind"],
            registry=self._registry,
        )
        self._missing = Counter(
            "pluralism_missing_communities",
            "Runs whose answer lacks this community.",
            ["community"],
            registry=self._registry,
        )
        for name, text, read in (
            ("pluralism_running", "Requests being worked on.", lambda: gate.running),
            ("pluralism_waiting", "Requests waiting for their turn.", lambda: gate.waiting),
        ):
            Gauge(name, text, registry=self._registry).set_function(read)
        self._registry.register(_EngineCounts(embedded))

    def done(self, exchange: Exchange, path: str) -> None:
        """Count a request that has ended; `path` is one of the server's own."""
        model = exchange.model or ""
        if model and model not in self._models:
            model = "other"  # each label is a series that is kept for good, and clients could make up ever new ones
        self._requests.labels(path, model, str(exchange.status)).inc()
        self._seconds.labels(path, model).observe(exchange.seconds)
        if exchange.first_seconds is not None:
            self._first.labels(path, model).observe(exchange.first_seconds)
        tokens = exchange.tokens
        for kind, count in (("prompt", tokens.prompt), ("cached", tokens.cached), ("completion", tokens.completion)):
            if count:
                self._tokens.labels(model, kind).inc(count)
        for community in exchange.missing:
            self._missing.labels(community).inc()

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self._registry)


class _EngineCounts(Collector):
    """The engines' own counts and states, read when they are asked for."""

    def __init__(self, embedded: Sequence[ChatLlama]) -> None:
        self._embedded = embedded

    def collect(self) -> Iterable[Metric]:
        """See Collector."""
        engines = list(dict.fromkeys(chat.engine for chat in self._embedded))
        for told, family_of in ((_ENGINE_COUNTS, CounterMetricFamily), (_ENGINE_STATES, GaugeMetricFamily)):
            for name, text in told.items():
                family = family_of(f"pluralism_engine_{name}", text, labels=["engine", "file"])
                for number, engine in enumerate(engines):
                    family.add_metric([str(number), engine.model.path.name], getattr(engine.stats, name))
                yield family
