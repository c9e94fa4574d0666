"""What an agent's model is told of a result's shortcomings, and what else a tool is made with."""

from __future__ import annotations

from typing import Any

import pytest

from modular_pluralism import InputError, ModeDescription, OvertonState, build_overton, pluralism_tool, register_mode
from modular_pluralism.modes import modes
from tests.fake_models import FakeChat, Seen, always, choosing, fake_models, fake_pool

TWO = ("north", "east")
LIE = {"question": "Is it right to lie?", "options": ["Yes", "No"]}


class Cut(FakeChat):
    """Has no end."""

    def info(self, seen: Seen) -> dict[str, Any]:
        return {"finish_reason": "length"}


def tool(mode: Any = "overton", base: Any = None, settings: Any = None, **others: Any) -> Any:
    models = fake_models(base or always("All views."), TWO, **others)
    return pluralism_tool(fake_pool(TWO, score_samples=4), mode=mode, models=models, **(settings or {}))


def test_texts_that_were_cut_off_are_told() -> None:
    cut = Cut(say=lambda seen: "And so on and")
    assert tool().invoke({"question": "Why?"}) == "All views."
    assert tool(base=cut).invoke({"question": "Why?"}) == "And so on and\nThe answer was cut off by its token limit."
    assert tool(north=cut, east=cut).invoke({"question": "Why?"}) == (
        "All views.\nThe comments of east, north were cut off by their token limit."
    )


@pytest.mark.parametrize(("mode", "replies"), [("distributional", 8), ("steerable", 4)])
def test_probabilities_that_were_estimated_are_told(mode: str, replies: int) -> None:
    asked = LIE if mode == "distributional" else {**LIE, "attribute": "thrift"}
    say = FakeChat(say=lambda seen: "1" if seen.settings.get("max_tokens") == 16 else "A")
    assert (
        f"Probabilities of options were estimated from {replies} sampled replies in all, since a model does not report "
        "them."
    ) in tool(mode, say).invoke(asked).splitlines()
    told = choosing(lambda seen: {"A": 0.5, "B": 0.3, "1": 0.15, "2": 0.05})
    assert "estimated" not in tool(mode, told).invoke(asked)


def test_arguments_of_the_modes_builder_are_the_tools_too(monkeypatch: pytest.MonkeyPatch) -> None:
    silent: Any = FakeChat(say=lambda seen: RuntimeError("not asked"))
    known = tool(settings={"comments": {"north": "Mine."}}, north=silent)
    assert known.invoke({"question": "Why?"}) == "All views."
    assert known.invoke("Why?") == "All views.", "as LangChain calls tools with one argument"
    with pytest.raises(
        InputError, match="Distributional mode has no argument 'moods'; beside pluralism_tool's own it takes"
    ):
        tool("distributional", settings={"moods": 3})
    with pytest.raises(InputError, match="comments is 3; give a dict"):
        tool(settings={"comments": 3})
    with pytest.raises(InputError, match="has no argument 'into'"):
        tool(settings={"into": "x"})
    monkeypatch.setattr("modular_pluralism.modes._modes", dict(modes()))

    def build(pool: Any, **more: Any) -> Any:
        return build_overton(pool, **more)

    register_mode(ModeDescription("mine", "work", "outcome", "tool", build, OvertonState))
    assert tool("mine", settings={"comments": {"north": "Mine."}}, north=silent).invoke({"question": "Why?"})
