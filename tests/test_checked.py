"""Arguments of a wrong kind: whatever stands in the place of one, a public function tells it in one sentence."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from langchain_core.runnables import RunnableLambda

import modular_pluralism
from modular_pluralism import (
    ChatLlama,
    Community,
    EmbeddedModel,
    Hardware,
    InputError,
    LangChainModel,
    ModeDescription,
    NodeCache,
    OvertonState,
    PluralismError,
    Pool,
    PoolModels,
    Prompt,
    PromptSet,
    RemoteModel,
    Request,
    RunSettings,
    Takes,
    build_distributional,
    build_overton,
    build_steerable,
    find_mode,
    open_store,
    pluralism_tool,
    register_mode,
)
from modular_pluralism.checked import check_fields, checked, find_problem
from modular_pluralism.modes import modes
from modular_pluralism.nodes.comment import failed
from modular_pluralism.types import Comment, Scoring
from tests.fake_models import always, fake_models, fake_pool

POOL = fake_pool()
MODELS = fake_models(always("Well."))
NORTH = Community(model="m", description="People of the north")
MERGE = PromptSet.load()["merge"]
PROMPT = {name: getattr(MERGE, name) for name in inspect.signature(Prompt).parameters}
MODE = ModeDescription("odd", "work", "outcome", "tool", build_overton, OvertonState)
WRONG: tuple[Any, ...] = (
    *(object(), 3, -1, 2.5, True, "", "x", b"x", None, [], [3], ["x"], {}, {"x": 3}, {3: 3}, {"smollm2": "gpt"}),
    *(always("x"), RunnableLambda(str), Path("x"), Pool.load(), PromptSet.load(), str, len, {"north": {}}),
)


def described(**changes: Any) -> Any:
    return register_mode(ModeDescription(**{**vars(MODE), **changes}))


def takes(**changes: Any) -> Any:
    return described(takes=Takes(**changes))


BUILDERS = [name for name in modular_pluralism.__all__ if name.startswith("build_")]
CALLS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    **{name: (getattr(modular_pluralism, name), {"pool": POOL, "models": MODELS}) for name in BUILDERS},
    "build_prompting": (modular_pluralism.build_prompting, {"pool": POOL, "models": MODELS, "mode": "overton"}),
    "pluralism_tool": (pluralism_tool, {"pool": POOL, "models": MODELS}),
    "NodeCache": (NodeCache, {}),
    "PoolModels": (PoolModels, {"pool": POOL}),
    "Prompt": (Prompt, PROMPT),
    "PromptSet": (PromptSet, {"prompts": {}, "personas": {}}),
    "PromptSet.load": (PromptSet.load, {}),
    "PromptSet.with_texts": (PromptSet.load().with_texts, {"texts": {}}),
    "Pool.load": (Pool.load, {}),
    "Pool.of": (Pool.of, {"base": always("x"), "communities": {"north": always("x")}}),
    "Pool.from_toml": (Pool.from_toml, {"text": "", "source": "my.toml", "folder": Path()}),
    "Pool.only": (POOL.only, {"names": ["north"]}),
    "Pool.model_copy": (POOL.model_copy, {"update": {}}),
    "Pool": (Pool, {"base": "m", "models": {"m": EmbeddedModel(gguf="m.gguf")}, "communities": {"north": NORTH}}),
    "Community": (Community, {}),
    "RunSettings": (RunSettings, {}),
    "EmbeddedModel": (EmbeddedModel, {"gguf": "m.gguf"}),
    "RemoteModel": (RemoteModel, {"openai": "m"}),
    "LangChainModel": (LangChainModel, {"langchain": "openai:m"}),
    "Hardware": (Hardware, {}),
    "ChatLlama": (ChatLlama, {"gguf": "m.gguf"}),
    "ChatLlama.model_copy": (ChatLlama(gguf="m.gguf").model_copy, {"update": {}}),
    "Request": (Request, {"question": "Why?"}),
    "find_mode": (find_mode, {"name": "overton"}),
    "open_store": (open_store, {}),
    "register_mode": (register_mode, {"mode": MODE}),
    "ModeDescription": (described, vars(MODE)),
    "Takes": (takes, {"attribute": "refused", "options": "refused", "voice": False}),
}


def _arguments() -> Iterator[Any]:
    for name, (call, usual) in CALLS.items():
        parameters = inspect.signature(call).parameters
        named = [each for each in parameters if parameters[each].kind is not inspect.Parameter.VAR_KEYWORD]
        for argument in dict.fromkeys([*named, *usual]):
            yield pytest.param(name, argument, id=f"{name}-{argument}")


@pytest.mark.parametrize(("name", "argument"), _arguments())
def test_whatever_is_given_for_an_argument_is_taken_or_told(
    name: str, argument: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modular_pluralism.modes._modes", dict(modes()))
    call, usual = CALLS[name]
    refused: list[str] = []
    for wrong in WRONG:
        try:
            call(**{**usual, argument: wrong})
        except PluralismError as error:
            refused.append(str(error))
    assert refused, "something of this cannot be right"
    assert all("\n" not in each and len(each) < 900 for each in refused)


@pytest.mark.parametrize("scoring", ["rotat", "LABEL", "Text", "", 1, None])
@pytest.mark.parametrize("build", [build_steerable, build_distributional])
def test_a_scoring_that_there_is_not_is_never_taken_for_another(build: Any, scoring: Any) -> None:
    with pytest.raises(InputError, match="scoring"):
        build(POOL, models=MODELS, scoring=scoring)
    with pytest.raises(InputError, match="scoring"):
        pluralism_tool(POOL, mode="steerable", models=MODELS, scoring=scoring)


def test_an_attribute_is_refused_by_overton_in_python_too() -> None:
    graph = build_overton(POOL, models=MODELS).compile()
    with pytest.raises(InputError, match="Overton mode takes no attribute"):
        graph.invoke({"question": "Why?", "attribute": "age"})  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: build_overton(POOL, models=always("x")),  # type: ignore[arg-type]
            "build_overton: models is a FakeChat; give a PoolModels, a dict of Runnables by name or None.",
        ),
        (
            lambda: build_overton(POOL, models={"boss": "gpt-4o"}),  # type: ignore[dict-item]
            "build_overton: models['boss'] is 'gpt-4o'; give a Runnable.",
        ),
        (
            lambda: build_overton(POOL, prompts={"merge": "x"}),  # type: ignore[arg-type]
            "build_overton: prompts is a dict; give a PromptSet or None.",
        ),
        (
            lambda: build_overton(POOL, comments=["x"]),  # type: ignore[arg-type]
            "build_overton: comments is a list; give a dict of texts or Comments by name or None.",
        ),
        (lambda: build_overton(POOL, seed="3"), "build_overton: seed is '3'; give a whole number or None."),  # type: ignore[arg-type]
        (lambda: build_overton(POOL, seed=-1), "The seed is -1; give a whole number from 0, or leave it out."),
        (
            lambda: build_steerable(POOL, scoring="rotat"),  # type: ignore[arg-type]
            "build_steerable: There is no scoring 'rotat'; use label, rotate, text.",
        ),
        (
            lambda: build_steerable(POOL, scoring=["label"]),  # type: ignore[arg-type]
            "build_steerable: The scoring is a list; give its name: label, rotate, text.",
        ),
        (
            lambda: find_mode([]),
            "The mode is a list; give its name: overton, steerable, distributional, assembly.",
        ),
        (
            lambda: build_distributional(POOL, pooling=[]),  # type: ignore[arg-type]
            "build_distributional: pooling is a list; give 'linear', 'log-linear' or 'median', a function or None.",
        ),
        (lambda: NodeCache(most=0), "NodeCache: most is 0; give a number of nodes from 1, or compile without a cache."),
        (lambda: PoolModels("culture"), "PoolModels: pool is 'culture'; give a Pool."),  # type: ignore[arg-type]
        (lambda: open_store(3), "open_store: location is 3; give a text, a Path or None."),  # type: ignore[arg-type]
    ],
)
def test_the_sentence_names_the_argument_and_what_belongs_there(call: Callable[[], Any], sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        call()
    assert str(caught.value) == sentence


def test_a_missing_or_unknown_argument_stays_pythons_error() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'moods'"):
        build_overton(POOL, moods=3)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("value", "hint", "fits"),
    [
        *((3, int, True), (True, int, False), (3, float, True), (True, bool, True), ("x", str, True)),
        *((None, None, True), (None, int | None, True), ("x", int | None, False), (3, Any, True)),
        *(("label", Scoring, True), ("Label", Scoring, False), (1, Literal[True], False)),
        *((["x"], Sequence[str], True), ("x", Sequence[str], False), ([3], Sequence[str], False)),
        *(({"a": 1}, Mapping[str, int], True), ({1: 1}, Mapping[str, int], False), ({"a": "1"}, dict[str, int], False)),
        *((len, Callable[..., Any], True), (3, Callable[..., Any], False), (str, type, True), (3, type[Any], False)),
        *((3, Annotated[int, "x"], True), ("x", Annotated[int, "x"], False), ({}, Comment, False)),
    ],
)
def test_what_fits_a_hint(value: object, hint: Any, fits: bool) -> None:
    assert (find_problem(value, hint, "it") is None) == fits


def test_a_method_and_a_dataclass_are_checked_too() -> None:
    class Thing:
        @checked
        def do(self, count: int, *others: str) -> int:
            return count

    assert Thing().do(3) == 3
    with pytest.raises(InputError, match=r"Thing\.do: count is 'x'; give a whole number\."):
        Thing().do("x")  # type: ignore[arg-type]
    check_fields(Takes())
    with pytest.raises(InputError, match="Takes: There is no attribute 'sometimes'; use required, optional, refused"):
        check_fields(Takes("sometimes"))  # type: ignore[arg-type]


def test_keys_that_a_dict_may_leave_out_are_not_missed() -> None:
    said = failed("north", "no")
    assert "reasoning" not in said
    assert find_problem(said, Comment, "comment") is None
    problem = find_problem({key: value for key, value in said.items() if key != "error"}, Comment, "comment")
    assert str(problem) == "comment has no 'error'; a Comment has error."
