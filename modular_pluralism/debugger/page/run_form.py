"""What a run is asked: the fields of the form, and the request that they make."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from nicegui import ui

from modular_pluralism.debugger.live import RunRequest
from modular_pluralism.debugger.page import elements as el
from modular_pluralism.debugger.page.live_runs import LiveRuns
from modular_pluralism.errors import InputError
from modular_pluralism.modes import ModeDescription, every_voices, find_mode, modes
from modular_pluralism.pools import BUILT_IN_POOLS
from modular_pluralism.runs.setup import Setup
from modular_pluralism.types import Scoring, Voices

_SCORINGS = {
    "rotate": "rotate – averages over the order of the options",
    "label": "label – reads the options in one order",
    "text": "text – reads each option's own words",
}
_VOICES = {
    "comment": "comment – the base LLM reads what they say",
    "vote": "vote – their own probability of every option",
    "record": "record – what their people have answered",
}
_CHOICES = {each: _VOICES.get(each, each) for each in every_voices()}
_EXAMPLE = "Should a city ban cars from its centre?"


class RunForm:
    """The form, filled in as the run with this setup was asked. `on_shape` is called when mode, voice or pool change,
    since they change the graph."""

    def __init__(self, runs: LiveRuns, setup: Setup | None, on_shape: Callable[[], object]) -> None:
        prompts = None if runs.prompts is None else str(runs.prompts)
        begin = RunRequest(question=_EXAMPLE, pool=runs.pool, prompts=prompts)
        if setup is not None:
            asked = {name: value for name, value in setup.asked.items() if value is not None}
            same = setup.model_dump(include={"mode", "pool", "scoring", "voice", "prompts"})
            begin = RunRequest(**asked, **same)
        self._mode = find_mode(begin.mode)
        self._on_shape = on_shape
        self._build(runs.pool, begin)
        self._fit()

    @property
    def mode(self) -> ModeDescription:
        """The mode that is chosen."""
        return self._mode

    @property
    def pool(self) -> str:
        """The pool that is chosen."""
        return str(self._pool.value or "").strip()

    @property
    def voice(self) -> Voices:
        """How communities are to be heard."""
        return str(self._voice.value) if self._mode.takes.voice else "comment"

    def request(self) -> RunRequest:
        """What the fields say.

        Raises:
            InputError: a field holds something unusable.
        """
        takes = self._mode.takes
        attribute = str(self._attribute.value or "").strip()
        lines = [line.strip() for line in str(self._options.value or "").splitlines()]
        options = [line for line in lines if line]
        prompts = str(self._prompts.value or "").strip()
        return RunRequest(
            question=str(self._question.value or "").strip(),
            mode=self._mode.name,
            pool=self.pool,
            attribute=attribute or None if takes.attribute != "refused" else None,
            options=options or None if takes.options != "refused" else None,
            scoring=cast(Scoring, self._scoring.value),
            voice=self.voice,
            seed=self._whole(self._seed.value),
            prompts=prompts or None,
        )

    def _build(self, first_pool: str, begin: RunRequest) -> None:
        question = ui.textarea(value=begin.question).props("autogrow").classes("ask-question")
        self._question = el.field("Question", question)
        with el.box("field"):
            el.text("Mode", "cap")
            el.segments("Mode", {name: mode.title for name, mode in modes().items()}, begin.mode, self._choose)
            self._hint = el.text("", "hint")
        attribute = ui.input(value=begin.attribute or "", placeholder="the right to privacy")
        self._attribute = el.field("Attribute", attribute, "Whose view: a value, a group of people, a culture.")
        options = ui.textarea(value="\n".join(begin.options or []), placeholder="Yes\nNo")
        self._options = el.field("Options, one a line", options.props("autogrow").classes("ask-options"))
        pools = list(dict.fromkeys([first_pool, begin.pool, *BUILT_IN_POOLS]))
        # The browser's own list of suggestions: one that the page draws may open late, over what is clicked next.
        with el.box("", "datalist", id="pools"):
            for known in pools:
                el.box("", "option", value=known)
        pool = ui.input(value=begin.pool, on_change=lambda event: self._on_shape() if event.value in pools else None)
        pool.props("clearable list=pools").on("change", lambda: self._on_shape())
        self._pool = el.field("Pool", pool, f"{', '.join(BUILT_IN_POOLS)}, or the path of a .toml file.")
        with el.more("More settings"), el.box("stack tight"):
            seed = ui.number(value=begin.seed, min=0, step=1, precision=0)
            self._seed = el.field("Seed", seed, "The same seed and settings give the same run again.")
            self._scoring = el.field("How options are read", ui.select(_SCORINGS, value=begin.scoring))
            voice = ui.select(
                _CHOICES,
                value=begin.voice,
                on_change=lambda: self._on_shape(),
            )
            self._voice = el.field("How communities are heard", voice)
            prompts = ui.input(value=begin.prompts or "", placeholder="the built-in prompts")
            self._prompts = el.field("Folder with your prompts", prompts)

    def _choose(self, mode: str) -> None:
        self._mode = find_mode(mode)
        self._fit()
        self._on_shape()

    def _fit(self) -> None:
        """Only what the mode has a use for."""
        takes = self._mode.takes
        self._hint.set_text(
            f"{self._mode.work[:1].upper()}{self._mode.work[1:]}. What comes out: {self._mode.outcome}."
        )
        for element, need in ((self._attribute, takes.attribute), (self._options, takes.options)):
            element.set_visibility(need != "refused")
            el.attributes(element, **{"aria-required": "true" if need == "required" else "false"})
        self._scoring.set_visibility(takes.scoring)
        self._voice.set_visibility(takes.voice)

    def _whole(self, value: object) -> int:
        if isinstance(value, int | float) and value == int(value):
            return int(value)
        raise InputError("The seed has to be a whole number, 0 or more.")
