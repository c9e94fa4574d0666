"""A structured reply of the demo model's weights."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from modular_pluralism.llama import ChatLlama
from tests.demo_model import DEMO_GGUF


class Fact(BaseModel):
    """What is known of a city."""

    country: str = Field(max_length=20)
    continent: Literal["Europe", "Asia"]
    is_capital: bool


def test_the_demo_model_fills_in_a_form() -> None:
    model = ChatLlama(gguf=DEMO_GGUF, temperature=0, max_tokens=60)
    fact = model.with_structured_output(Fact).invoke("Paris is the capital of France. Tell the facts of Paris as JSON.")
    assert isinstance(fact, Fact)
    assert fact.country
