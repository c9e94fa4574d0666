"""What a fork changes: comments, priors, communities left out or added."""

from __future__ import annotations

from collections.abc import Mapping
from operator import not_
from typing import Any

from nicegui import ui

from modular_pluralism.debugger.page import elements as el
from modular_pluralism.debugger.page.words import STATES
from modular_pluralism.errors import InputError
from modular_pluralism.pool import COMMUNITY_NAME, Pool
from modular_pluralism.runs.edits import AddedCommunity, Edits
from modular_pluralism.types import Comment


class _Row:
    """A community: its comment, its weight, and whether it takes part."""

    def __init__(self, name: str, communities: list[str], comment: Comment | None, prior: float | None) -> None:
        self.name = name
        self._before = "" if comment is None else comment["text"]
        self._prior_before = prior
        with el.box("voice-edit", "section", label=name).style(el.hue(communities.index(name))):
            with el.box("line between"):
                with el.box("line"):
                    el.community(name, communities)
                self.out = ui.checkbox("leave out").props("dense")
                el.attributes(self.out, f"Leave out {name}")
            if comment is not None and comment["error"]:
                el.text(f"{STATES['failed'].word}: {comment['error']}", "muted small")
            placeholder = "It has not said anything yet; what you write here is said instead."
            self._said = ui.textarea(value=self._before, placeholder=placeholder).props("outlined dense autogrow")
            el.attributes(self._said, f"Comment of {name}")
            self._said.bind_enabled_from(self.out, "value", backward=not_)
            self._prior = None
            if prior is not None:
                self._prior = el.field("Weight (prior)", ui.number(value=prior, min=0, step=0.5))
                self._prior.bind_enabled_from(self.out, "value", backward=not_)

    @property
    def comment(self) -> str | None:
        """What it is to say, where that is something else than before."""
        said = str(self._said.value or "")
        return said.strip() if said.strip() != self._before.strip() and said.strip() else None

    @property
    def prior(self) -> float | None:
        """Its weight, where that is another than before."""
        if self._prior is None or self._prior.value is None or float(self._prior.value) == self._prior_before:
            return None
        return float(self._prior.value)


class ForkForm:
    """The form, as the run stands."""

    def __init__(self, pool: Pool, comments: Mapping[str, Comment], *, weighted: bool) -> None:
        self._pool = pool
        with el.box("voices edits"):
            self._rows = [
                _Row(name, list(pool.communities), comments.get(name), config.prior if weighted else None)
                for name, config in pool.communities.items()
            ]
        with el.more("Add a community"), el.box("adding"):
            self._name = el.field("Name", ui.input(placeholder="cyclists"))
            self._model = el.field("Model", ui.select(list(pool.models), value=pool.base))
            self._description = el.field("Who they are", ui.input(placeholder="people who go everywhere by bicycle"))
            persona = ui.textarea(placeholder="You speak for people who …").props("autogrow")
            self._persona = el.field("Persona: how their model is told to speak", persona)

    def edits(self, *, or_none: bool) -> Edits:
        """What has been changed.

        Raises:
            InputError: nothing has, unless `or_none`, or a field holds something unusable.
        """
        changed: dict[str, Any] = {
            "comments": {row.name: row.comment for row in self._rows if row.comment is not None and not row.out.value},
            "priors": {row.name: row.prior for row in self._rows if row.prior is not None and not row.out.value},
            "dropped": [row.name for row in self._rows if row.out.value],
            "added": self._added(),
        }
        edits = Edits(**changed)
        if edits.empty and not or_none:
            raise InputError("Nothing is changed yet: edit a comment, leave a community out, or add one.")
        return edits

    def _added(self) -> dict[str, AddedCommunity]:
        name = str(self._name.value or "").strip()
        description = str(self._description.value or "").strip()
        if not name and not description:
            return {}
        if not COMMUNITY_NAME.fullmatch(name):
            raise InputError("The new community needs a name of letters, digits, '_' and '-'.")
        if not description:
            raise InputError(f"Say in a few words who {name} are.")
        persona = str(self._persona.value or "").strip()
        return {name: AddedCommunity(model=str(self._model.value), description=description, persona=persona or None)}
