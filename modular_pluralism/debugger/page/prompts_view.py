"""Prompts: every prompt of the run in an editor, checked as one types, saved as a version of one's own, run again."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from nicegui import ui
from nicegui.element import Element

from modular_pluralism.debugger.fork import ForkRequest
from modular_pluralism.debugger.page import elements as el
from modular_pluralism.debugger.page.run_prompts import UsedPrompt, problems_of, prompts_of, save_prompt
from modular_pluralism.debugger.page.tab import Tab, View
from modular_pluralism.errors import InputError
from modular_pluralism.prompts.loader import variables_in
from modular_pluralism.runs.edits import Edits


class PromptsView(View):
    """See View."""

    name = "prompts"
    title = "Prompts"
    icon = "edit_note"
    of_the_store = False
    without_run = "Start one under Run, or open one under Time travel: its prompts stand here."

    def __init__(self, tab: Tab) -> None:
        super().__init__(tab)
        self._used: dict[str, UsedPrompt] = {}
        self._texts: dict[str, str] = {}
        self._marks: dict[str, Element] = {}
        self._buttons: dict[str, Element] = {}
        self._key = ""

    async def show(self) -> None:
        """See View."""
        setup = await self._tab.setup()
        assert setup is not None
        made_of = setup.load(anyway=True)
        pool = made_of.pool
        used = prompts_of(setup, pool, made_of.prompts)
        self._used = {used_prompt.key: used_prompt for used_prompt in used}
        self._texts = {used_prompt.key: used_prompt.prompt.text.strip("\n") for used_prompt in used}
        with el.box("two prompts"):
            with el.box("card side", "nav", label="Prompts of the run"):
                el.text("Prompts of this run", tag="h2")
                self._list([used_prompt for used_prompt in used if used_prompt.community is None], "Texts")
                self._list(
                    [used_prompt for used_prompt in used if used_prompt.community is not None],
                    "Personas",
                    list(pool.communities),
                )
            with el.box("card stack", "section", label="Editor"):
                self._editor_card()
        self._open(used[0].key)

    def _list(self, used: list[UsedPrompt], caption: str, communities: list[str] | None = None) -> None:
        if not used:
            return
        el.text(caption, "muted small group")
        with el.box("names"):
            for used_prompt in used:
                with el.button("", partial(self._open, used_prompt.key), kind="", label=used_prompt.title) as made:
                    if communities and used_prompt.community:
                        el.community(used_prompt.community, communities, "")
                    el.text(used_prompt.title, "title", "span")
                    self._marks[used_prompt.key] = el.chip("edited", "warn", "edit")
                    el.text(used_prompt.use, "muted small use", "span")
                self._marks[used_prompt.key].set_visibility(False)
                self._buttons[used_prompt.key] = made

    def _editor_card(self) -> None:
        with el.box("line between"):
            self._title = el.text("", tag="h2")
            self._origin = el.text("", "muted small")
        self._variables = el.box("line")
        self._editor = ui.codemirror("", line_wrapping=True, on_change=lambda event: self._typed(str(event.value)))
        self._checked = el.box("stack tight", role="status", **{"aria-live": "polite"})
        with el.box("btns"):
            self._again = el.button("Run again with the edits", self._run_again, icon="play_arrow", kind="btn main")
            self._undo = el.button("Undo the edits of this text", self._reset, icon="undo")
        with el.box("save"):
            folder = ui.input(value=str(self._tab.runs.prompts or "my-prompts"))
            hint = "Use it later with --prompts, or under Run, More settings."
            self._folder = el.field("Save into a folder of yours", folder, hint)
            self._save = el.button("Save as a new version", self._keep, icon="save")

    def _open(self, key: str) -> None:
        self._key = key
        used_prompt = self._used[key]
        for name, made in self._buttons.items():
            el.attributes(made, **{"aria-pressed": "true" if name == key else "false"})
        self._title.set_text(used_prompt.title)
        self._origin.set_text(
            f"for {used_prompt.use}" if used_prompt.community is None else f"persona of {used_prompt.community}"
        )
        el.attributes(self._editor, f"Text of {used_prompt.title}")
        self._editor.set_value(self._texts[key])
        self._show_state()

    def _typed(self, value: str) -> None:
        if self._key:
            self._texts[self._key] = value
            self._show_state()

    def _show_state(self) -> None:
        used_prompt = self._used[self._key]
        self._marks[self._key].set_visibility(self._is_edited(used_prompt))
        problems = problems_of(used_prompt.prompt, self._texts[self._key])
        self._show_variables(used_prompt)
        with el.refilled(self._checked):
            for problem in problems:
                el.note(problem, "bad", "error")
            if not problems:
                el.note("This text can be used.", "good", "check_circle")
        edited = [one for one in self._used.values() if self._is_edited(one)]
        usable = not any(problems_of(one.prompt, self._texts[one.key]) for one in edited)
        el.enable(self._again, bool(edited) and usable)
        el.enable(self._undo, self._is_edited(used_prompt))
        el.enable(self._save, not problems and self._is_edited(used_prompt))

    def _show_variables(self, used_prompt: UsedPrompt) -> None:
        with el.refilled(self._variables):
            if not used_prompt.prompt.variables:
                el.text("Sent as it stands; nothing is filled in.", "muted small")
                return
            el.text("Filled in for you:", "muted small")
            used = variables_in(self._texts[self._key])
            for name in used_prompt.prompt.variables:
                kind, icon = ("good", "check") if name in used else ("bad", "close")
                el.chip(f"{{{name}}}" if name in used else f"{{{name}}} is missing", kind, icon)

    def _is_edited(self, used_prompt: UsedPrompt) -> bool:
        return self._texts[used_prompt.key].strip() != used_prompt.prompt.text.strip()

    def _reset(self) -> None:
        self._texts[self._key] = self._used[self._key].prompt.text.strip("\n")
        self._open(self._key)

    async def _keep(self) -> None:
        folder = str(self._folder.value or "").strip()
        if not folder:
            raise InputError("Name a folder first.")
        used_prompt = self._used[self._key]
        path = save_prompt(Path(folder), used_prompt.prompt, self._texts[self._key])
        el.notify(f"Saved as {path}")

    async def _run_again(self) -> None:
        edited = [one for one in self._used.values() if self._is_edited(one)]
        edits = Edits(
            prompts={one.key: self._texts[one.key] for one in edited if one.community is None},
            personas={one.community: self._texts[one.key].strip() for one in edited if one.community is not None},
        )
        assert self._tab.run is not None
        await self._tab.open(await self._tab.runs.fork(ForkRequest(run=self._tab.run, edits=edits)), "run")
