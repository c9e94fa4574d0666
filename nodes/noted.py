"""What a step may use, and what of it it has used, so that a node's cache key can have all that it depends on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from modular_pluralism.prompts import Prompt, PromptSet


class NotNotedError(RuntimeError):
    """A step uses what its key leaves out, so that no cache could know what its result depends on. A mistake in the
    step."""


class Notes:
    """What one run of the step `name` has read of the state; once it is closed, nothing may be added."""

    def __init__(self, name: str) -> None:
        self.read: dict[str, Any] = {}
        self._name = name
        self._closed = False

    def close(self) -> None:
        """The step is about to ask a model."""
        self._closed = True

    def add(self, path: str, value: Any) -> None:
        """A value of the state, or a fact about it."""
        if self._closed and path not in self.read:
            what = path.lstrip("/") or "the keys"
            raise NotNotedError(
                f"The step {self._name} uses {what} of the state only after it has asked a model, so a cache would not "
                "know of it; take it into a variable before the first yield."
            )
        self.read[path] = value


class Noted(Mapping[str, Any]):
    """The state, or a mapping in it: every value that is taken out is noted, and so is what is asked about its keys."""

    def __init__(self, values: Mapping[str, Any], notes: Notes, path: str = "") -> None:
        self._values = values
        self._notes = notes
        self._path = path

    def __getitem__(self, key: str) -> Any:
        path = f"{self._path}/{key}"
        if key not in self._values:
            self._notes.add(path, ["absent"])
            raise KeyError(key)
        value = self._values[key]
        if not isinstance(value, Mapping):
            self._notes.add(path, value)
            return value
        self._notes.add(path, ["mapping"])
        return Noted(value, self._notes, path)

    def get(self, key: str, default: Any = None) -> Any:
        """See Mapping, which finds out by an error what is absent: that takes long."""
        if key in self._values:
            return self[key]
        self._notes.add(f"{self._path}/{key}", ["absent"])
        return default

    def __contains__(self, key: object) -> bool:
        there = key in self._values
        self._notes.add(f"{self._path}/{key} in", there)
        return there

    def __bool__(self) -> bool:
        self._notes.add(f"{self._path} empty", not self._values)
        return bool(self._values)

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __iter__(self) -> Iterator[str]:
        self._notes.add(f"{self._path} keys", list(self._values))
        return iter(self._values)

    def not_noted(self) -> Mapping[str, Any]:
        """The values as they are, for an update that no cache keeps, such as that of a community which has failed."""
        return self._values


def plain_update(update: Mapping[str, Any]) -> dict[str, Any]:
    """An update with plain dicts in the place of mappings that come from the state."""
    return {key: plain_update(value) if isinstance(value, Mapping) else value for key, value in update.items()}


class DeclaredPrompts(PromptSet):
    """Those prompts that a step's maker names for a question."""

    def __init__(self, prompts: PromptSet, names: Sequence[str], step: str) -> None:
        super().__init__({name: prompts[name] for name in names}, {})
        self._step = step

    def __getitem__(self, name: str) -> Prompt:
        if name not in self:
            raise NotNotedError(
                f"The step {self._step} uses the prompt {name} on a question for which its maker does not name it; add "
                "it to the prompts of its step_maker."
            )
        return super().__getitem__(name)
