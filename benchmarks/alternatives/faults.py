"""Run one of the four applications against an endpoint that misbehaves.

    python -m benchmarks.alternatives.faults ours

plurals and LiteLLM are no dependencies of this package: install them where this is run with their names.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from benchmarks.alternatives.council import PERSONAS, QUESTION, Outcome
from tests.fake_endpoint import Behaviour, FakeEndpoint

if TYPE_CHECKING:
    from langchain_openai import ChatOpenAI

FAULTS: dict[str, list[Behaviour]] = {
    "all well": ["ok"],
    "429 once": ["slow_down", "ok"],
    "500 always": ["broken"],
    "an empty text": ["empty"],
    "the reply breaks off": ["cut"],
    "says nothing": ["hang"],
}
SECONDS = 10.0
"""What a call may take; LiteLLM and LangChain have ten minutes unless they are told."""

Application = Callable[[str], Outcome]


def plain_langgraph(address: str) -> Outcome:
    from benchmarks.alternatives import plain_langgraph as application

    models = _langchain_models(address)
    return application.ask(QUESTION, models, models["base"])


def _langchain_models(address: str) -> dict[str, ChatOpenAI]:
    from langchain_openai import ChatOpenAI

    return {
        name: ChatOpenAI(model=name, base_url=address, api_key="none", timeout=SECONDS)  # type: ignore[arg-type]
        for name in (*PERSONAS, "base")
    }


def with_plurals(address: str) -> Outcome:
    from benchmarks.alternatives import with_plurals as application

    models = {name: f"openai/{name}" for name in PERSONAS}
    return application.ask(QUESTION, models, "openai/base", api_base=address, api_key="none", timeout=SECONDS)


def litellm_loop(address: str) -> Outcome:
    from benchmarks.alternatives import litellm_loop as application

    models = {name: f"openai/{name}" for name in PERSONAS}
    settings = {"api_base": address, "api_key": "none", "timeout": SECONDS}
    return asyncio.run(application.ask(QUESTION, models, "openai/base", **settings))


def ours(address: str) -> Outcome:
    from benchmarks.alternatives import ours as application

    models = _langchain_models(address)
    return application.ask(QUESTION, {**models}, models["base"])


APPLICATIONS: dict[str, Application] = {
    each.__name__: each for each in (ours, plain_langgraph, with_plurals, litellm_loop)
}


def main() -> None:
    """Print a row for each fault: what came back, and after how long."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=APPLICATIONS)
    ask = APPLICATIONS[parser.parse_args().name]
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    for fault, behaviours in FAULTS.items():
        endpoint = FakeEndpoint()
        endpoint.behave("shopkeepers", *behaviours)
        started = time.monotonic()
        with endpoint.running():
            threading.Timer(60.0, endpoint.closing.set).start()
            try:
                outcome = ask(endpoint.address)
                told = f"an answer, missing: {', '.join(outcome['missing']) or 'nobody'}"
                if not all(outcome["comments"].values()):
                    told += ", with an empty comment"
            except Exception as error:
                told = f"{type(error).__name__}: {' '.join(str(error).split())[:100]}"
            seconds = time.monotonic() - started
        print(f"{fault:22} {seconds:5.1f} s  {len(endpoint.requests):2} calls  {told}", flush=True)


if __name__ == "__main__":
    main()
