"""What docs/alternatives.md says of the four applications: those two that need nothing more are run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from langchain_openai import ChatOpenAI

from benchmarks.alternatives import ours, plain_langgraph
from benchmarks.alternatives.council import PERSONAS, QUESTION
from tests.fake_endpoint import FakeEndpoint

FOLDER = Path(ours.__file__).parent
DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "alternatives.md"


@pytest.mark.parametrize("file", ["ours", "with_plurals", "litellm_loop", "plain_langgraph"])
def test_the_lines_are_counted(file: str) -> None:
    lines = (FOLDER / f"{file}.py").read_text().splitlines()[1:]
    (told,) = re.findall(rf"alternatives/{file}\.py\) \| (\d+) \|", DOCUMENT.read_text())
    assert sum(bool(line.strip()) and not line.strip().startswith("#") for line in lines) == int(told)


@pytest.mark.parametrize("application", [ours, plain_langgraph])
@pytest.mark.parametrize("behaviour", ["ok", "broken", "empty"])
def test_a_community_that_cannot_answer_is_left_out(application: Any, behaviour: Any) -> None:
    endpoint = FakeEndpoint()
    endpoint.behave("shopkeepers", behaviour)
    with endpoint.running():
        models: Mapping[str, ChatOpenAI] = {
            name: ChatOpenAI(model=name, base_url=endpoint.address, api_key="none", max_retries=0)  # type: ignore[arg-type]
            for name in (*PERSONAS, "base")
        }
        outcome = application.ask(QUESTION, models, models["base"])
    assert outcome["answer"] == "The view of base."
    notices_an_empty_text = application is ours
    gone = behaviour == "broken" or (behaviour == "empty" and notices_an_empty_text)
    assert outcome["missing"] == (["shopkeepers"] if gone else [])
    assert len(outcome["comments"]) == 3 - gone
