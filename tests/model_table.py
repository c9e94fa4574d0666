"""The table of docs/models.md: architecture by architecture, what holds of a tiny model of it, measured.

`python -m tests.model_table` measures and writes it; tests/test_model_table.py measures and compares. A column is a
heading and a function that measures its cell: add one to COLUMNS.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from modular_pluralism import ModeDescription, close_engines
from modular_pluralism.hardware import Hardware
from modular_pluralism.llama import Engine, EngineSettings, GenerationRequest, Sampling
from modular_pluralism.llama.generation import Piece
from modular_pluralism.llama.job import Adapter
from modular_pluralism.llama.reading import continuations
from modular_pluralism.modes import modes
from tests.architectures import ARCHITECTURES, VOCABULARY, Architecture, write_adapter, write_architecture
from tests.plain_llama import greedy
from tests.thinking_model import SAID, write_obedient
from tests.training_models import read_tokenizer
from tests.vendored import chat_template

DOCUMENT = Path(__file__).parent.parent / "docs" / "models.md"
BEGIN, END = "<!-- measured by tests/model_table.py -->", "<!-- end of what is measured -->"
_YES, _NO = "✓", "✗"
_NONE = "–"
"""Where there is nothing to measure: the template knows no reasoning."""
_LENGTH = 8
_NEARLY_ALL = 0.9
_TIE = 0.005
"""Log-probabilities that are nearer to each other are a tie: which one wins depends on the order of sums."""

_POOL = """
base = "tiny"

[models.tiny]
gguf = "{file}"
template_file = "chat.jinja"
context = 2048
slots = 2
temperature = 0
{more}

[communities.europe]
model = "tiny"
persona = "europe.md"
description = "people in Europe"

[communities.asia]
model = "tiny"
persona = "asia.md"
description = "people in Asia"

[run]
comment_tokens = 4
answer_tokens = 4
"""


def _prompts() -> list[list[int]]:
    """Short ones that share 40 tokens, and some that share more than the sliding windows and their room hold."""
    random = np.random.default_rng(0)

    def tokens(count: int) -> list[int]:
        return [int(token) for token in random.integers(20, VOCABULARY, count)]

    short, long = tokens(40), tokens(330)
    return [
        [*short, *tokens(5)],
        [*short, *tokens(9)],
        [*short[:34], *tokens(3)],
        [*long, *tokens(7)],
        [*long[:310], 9],
    ]


PROMPTS = _prompts()


@dataclass(frozen=True)
class Measured:
    """One architecture's tiny model, and the engine that runs it."""

    architecture: Architecture
    path: Path
    engine: Engine
    adapter: Path

    def text(self, prompt: Sequence[int], adapter: Adapter | None = None) -> list[int]:
        """What the engine writes after a prompt."""
        request = GenerationRequest(
            tuple(prompt), max_tokens=_LENGTH, sampling=Sampling(temperature=0), ignore_end=True, adapter=adapter
        )
        return [token for event in self.engine.generate(request) if isinstance(event, Piece) for token in event.tokens]

    def same(self, prompt: Sequence[int], expected: Sequence[int], written: Sequence[int]) -> bool:
        """Whether two texts are the same, up to a tie."""
        for at, (one, other) in enumerate(zip(expected, written, strict=True)):
            if one != other:
                row = self.engine.next_token_logprobs([[*prompt, *expected[:at]]])[0]
                return abs(float(row[one] - row[other])) < _TIE
        return True


@contextmanager
def measured(architecture: Architecture, folder: Path) -> Iterator[Measured]:
    """The architecture's model, loaded."""
    path = write_architecture(folder / f"{architecture.name}.gguf", architecture, context=2048)
    adapter = write_adapter(folder / f"{architecture.name}-adapter.gguf", architecture)
    settings = EngineSettings(
        path, context=512, slots=4, threads=1, adapters=(adapter,), audit=True, hardware=Hardware(ubatch=64)
    )
    engine = Engine(settings)
    try:
        yield Measured(architecture, path, engine, adapter)
    finally:
        engine.close()


def memory(model: Measured) -> str:
    """What kind of memory it has."""
    loaded = model.engine.model
    if loaded.is_recurrent:
        return "recurrent" if not _attends(model.architecture) else "recurrent and attention"
    return "sliding windows" if loaded.window else "attention"


def _attends(architecture: Architecture) -> bool:
    return architecture.keys.get("attention.head_count") != 0


def equals_alone(model: Measured) -> str:
    """Whether every prompt, one after the other, is followed by the text that llama.cpp writes by itself."""
    expected = greedy(model.path, PROMPTS, _LENGTH)
    written = [model.text(prompt) for prompt in PROMPTS]
    return _mark(all(map(model.same, PROMPTS, expected, written)))


def equals_in_a_batch(model: Measured) -> str:
    """The same, all at once, each twice."""
    expected = greedy(model.path, PROMPTS, _LENGTH)
    with ThreadPoolExecutor(len(PROMPTS) * 2) as pool:
        written = list(pool.map(model.text, PROMPTS * 2))
    return _mark(all(map(model.same, PROMPTS * 2, expected * 2, written)))


def reuses(model: Measured) -> str:
    """Whether a prompt that is asked again is not read again, and neither is what the options of a question share."""
    holds = []
    for prompt in PROMPTS:
        first = model.text(prompt)
        before = model.engine.stats.tokens_reused
        again = model.text(prompt)
        model.engine.read(continuations(prompt, [[20, 21], [30, 31], [40, 41]]))
        reused = model.engine.stats.tokens_reused - before
        holds.append(reused >= 3 * (len(prompt) - 3) and model.same(prompt, first, again))
    return _mark(all(holds))


def adapts(model: Measured) -> str:
    """Whether an adapter changes its text to the one that llama.cpp writes with it."""
    prompts = PROMPTS[:2]
    expected = greedy(model.path, prompts, _LENGTH, adapter=model.adapter)
    written = [model.text(prompt, Adapter(model.adapter)) for prompt in prompts]
    plain = [model.text(prompt) for prompt in prompts]
    # A tie is one of the adapted model: texts are compared as they are.
    return _mark(written == expected and written != plain)


def template(model: Measured) -> str:
    """Whose chat template its pool has below."""
    return model.architecture.template or "of SmolLM2"


def answers(model: Measured) -> str:
    """Whether a pool of it answers in all modes, with the chat template of one of its models where there is one."""
    folder, name = model.path.parent, model.architecture.template
    (folder / "chat.jinja").write_text(chat_template(name) if name else read_tokenizer("chat_template"), "utf-8")
    pool = folder / "pool.toml"
    pool.write_text(_POOL.format(file=model.path.name, more=""), "utf-8")
    asked = {"question": "Is tea good?", "options": ["Yes", "No"], "attribute": "Spain"}
    try:
        states = {
            name: mode.graph(pool).compile().invoke({"seed": 1, "question": "Is tea good?", **_parts(mode, asked)})
            for name, mode in modes().items()
        }
    finally:
        close_engines()
    heard = [comment["text"] for state in states.values() for comment in state["comments"].values()]
    chosen = states["assembly"]["tally"]["winner"] == states["assembly"]["candidate"]
    answered = bool(states["overton"]["answer"]) and states["steerable"]["choice"] in asked["options"] and chosen
    pooled = abs(sum(states["distributional"]["distribution"]) - 1) < 1e-6
    return _mark(len(heard) == 2 * len(states) and all(heard) and answered and pooled)


def answers_at_once(model: Measured) -> str:
    """Whether a model that thinks where it is told to does not where a pool says nothing of it: comments are text, and
    the options' letters are read with mass."""
    said = _heard(model, thinking=False)
    return _NONE if said is None else _mark(said.of_letters and set(said.comments) == {("", SAID)})


def thinks_apart(model: Measured) -> str:
    """Whether its reasoning is kept apart where a pool asks for it, and the options' letters are read with mass."""
    said = _heard(model, thinking=True)
    if said is None:
        return _NONE
    return _mark(said.of_letters and all(thought and text == SAID for thought, text in said.comments))


class _Heard(NamedTuple):
    """Reasoning and text of each comment, and whether the letters had nearly all probability after each."""

    comments: list[tuple[str, str]]
    of_letters: bool


def _heard(model: Measured, *, thinking: bool) -> _Heard | None:
    """What a pool of a model that does as its template says gives; None where that knows no reasoning."""
    if model.architecture.template is None:
        return None
    folder = model.path.parent
    obedient = write_obedient(folder, model.architecture, thinking=thinking)
    if not obedient.reasons:
        return None
    (folder / "chat.jinja").write_text(obedient.template, "utf-8")
    told = 'thinking = "on"' if thinking else ""
    pool = folder / "pool.toml"
    pool.write_text(_POOL.format(file=obedient.gguf.name, more=told), "utf-8")
    try:
        state = (
            modes()["distributional"]
            .graph(pool)
            .compile()
            .invoke({"seed": 1, "question": "Is tea good?", "options": ["Yes", "No"]})
        )
    finally:
        close_engines()
    comments = [(each.get("reasoning", ""), each["text"]) for each in state["comments"].values()]
    return _Heard(comments, state["label_mass"] > _NEARLY_ALL)


def _parts(mode: ModeDescription, asked: Mapping[str, object]) -> dict[str, object]:
    if mode.takes.choose:  # its attribute says which rules of a contract hold, and there is none
        asked = {part: value for part, value in asked.items() if part != "attribute"}
    return {part: value for part, value in asked.items() if getattr(mode.takes, part, "refused") != "refused"}


COLUMNS: dict[str, Callable[[Measured], str]] = {
    "architecture": lambda model: f"`{model.architecture.name}`",
    "models of it": lambda model: model.architecture.like,
    "memory": memory,
    "equals llama.cpp": equals_alone,
    "in a batch": equals_in_a_batch,
    "reuses": reuses,
    "adapter": adapts,
    "chat template": template,
    "every mode": answers,
    "thinking off": answers_at_once,
    "thinking on": thinks_apart,
}


def row(architecture: Architecture, folder: Path) -> str:
    """An architecture's row."""
    with measured(architecture, folder) as model:
        return _row(measure(model) for measure in COLUMNS.values())


def written_rows() -> list[str]:
    """The rows that the document has, headings first."""
    return DOCUMENT.read_text("utf-8").partition(BEGIN)[2].partition(END)[0].strip().splitlines()


def heading() -> list[str]:
    """The first two rows."""
    return [_row(COLUMNS), _row("---" for _ in COLUMNS)]


def _row(cells: Iterator[str] | dict[str, Callable[[Measured], str]]) -> str:
    return f"| {' | '.join(cells)} |"


def _mark(holds: bool) -> str:
    return _YES if holds else _NO


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        rows = [*heading(), *(row(architecture, Path(made)) for architecture in ARCHITECTURES)]
    before, _, rest = DOCUMENT.read_text("utf-8").partition(BEGIN)
    DOCUMENT.write_text("\n".join([before + BEGIN, *rows, END + rest.partition(END)[2]]), "utf-8")
