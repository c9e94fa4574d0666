"""What a step uses before it first asks a model, noted, so that a node's cache key can have all that it depends on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from modular_pluralism.models.pool_models import PoolModel, PoolModels
from modular_pluralism.prompts import Prompt, PromptSet


class NotNotedError(RuntimeError):
    """A step uses, after it has asked a model, what it has not used before. A mistake in the step: no cache could know
    what its result depends on."""


class Notes:
    """What one run of the step `name` has used; once it is closed, nothing may be added."""

    def __init__(self, name: str, prompts: frozenset[str]) -> None:
        self.read: dict[str, Any] = {}
        self.prompts: dict[str, str] = {}
        self.models: dict[str, PoolModel] = {}
        self._name = name
        self._declared = prompts
        self._closed = False

    def close(self) -> None:
        """The step is about to ask a model."""
        self._closed = True

    def add_value(self, path: str, value: Any) -> None:
        """A value of the state, or a fact about it."""
        self._check(path in self.read, f"{path} of the state")
        self.read[path] = value

    def add_prompt(self, prompt: Prompt) -> None:
        """A prompt, which has to be one that the step is declared to use."""
        if prompt.name not in self._declared:
            raise NotNotedError(
                f"The step {self._name} uses the prompt {prompt.name} on a question for which its maker does not name "
                "it; add it to the prompts of its step_maker."
            )
        self._check(prompt.name in self.prompts, f"the prompt {prompt.name}")
        self.prompts[prompt.name] = prompt.text

    def add_model(self, name: str, model: PoolModel) -> None:
        """An opened model."""
        self._check(name in self.models, f"the model of {name}")
        self.models[name] = model

    def _check(self, known: bool, what: str) -> None:
        if self._closed and not known:
            raise NotNotedError(
                f"The step {self._name} uses {what} only after it has asked a model, so a cache would not know of it; "
                "take it into a variable before the first yield."
            )


class Noted(Mapping[str, Any]):
    """The state, or a mapping in it: every value that is taken out is noted, and so is what is asked about its keys."""

    def __init__(self, values: Mapping[str, Any], notes: Notes, path: str = "") -> None:
        self._values = values
        self._notes = notes
        self._path = path

    def __getitem__(self, key: str) -> Any:
        path = f"{self._path}/{key}"
        if key not in self._values:
            self._notes.add_value(path, ["absent"])
            raise KeyError(key)
        value = self._values[key]
        if not isinstance(value, Mapping):
            self._notes.add_value(path, value)
            return value
        self._notes.add_value(path, ["mapping"])
        return Noted(value, self._notes, path)

    def __contains__(self, key: object) -> bool:
        there = key in self._values
        self._notes.add_value(f"{self._path}/{key} in", there)
        return there

    def __bool__(self) -> bool:
        self._notes.add_value(f"{self._path} empty", not self._values)
        return bool(self._values)

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __iter__(self) -> Iterator[str]:
        self._notes.add_value(f"{self._path} keys", list(self._values))
        return iter(self._values)

    def not_noted(self) -> Mapping[str, Any]:
        """The values as they are, for an update that no cache keeps, such as that of a community which has failed."""
        return self._values


def plain_update(update: Mapping[str, Any]) -> dict[str, Any]:
    """An update with plain dicts in the place of mappings that come from the state."""
    return {key: plain_update(value) if isinstance(value, Mapping) else value for key, value in update.items()}


class NotedPrompts(PromptSet):
    """The prompts, of which every one that is taken is noted."""

    def __init__(self, prompts: PromptSet, notes: Notes) -> None:
        self._given = prompts
        self._notes = notes

    def __getitem__(self, name: str) -> Prompt:
        prompt = self._given[name]
        self._notes.add_prompt(prompt)
        return prompt


class NotedModels(PoolModels):
    """The models, of which every one that is opened is noted."""

    def __init__(self, models: PoolModels, notes: Notes) -> None:
        self._models = models
        self._notes = notes

    def base(self) -> PoolModel:
        """See PoolModels."""
        return self._noted("the base LLM", self._models.base())

    def community(self, name: str) -> PoolModel:
        """See PoolModels."""
        return self._noted(name, self._models.community(name))

    def _noted(self, name: str, model: PoolModel) -> PoolModel:
        self._notes.add_model(name, model)
        return model
