"""What distinguishes two versions of a contract."""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict

from modular_pluralism.societal.contract import Contract


class ChangedKey(TypedDict):
    """A key of a rule with its value before and after; None where it was not, or is no longer, there."""

    before: Any
    after: Any


class Difference(TypedDict):
    """The rules that one contract has and the other has not, by name, and those in both that differ, by key."""

    added: dict[str, dict[str, Any]]
    removed: dict[str, dict[str, Any]]
    changed: dict[str, dict[str, ChangedKey]]


def difference(before: Contract, after: Contract) -> Difference:
    """What has been added, removed and changed. Rules are told apart by their names: one that is renamed is removed and
    added."""
    old, new = before.data["rules"], after.data["rules"]
    changed = {name: _changed(old[name], new[name]) for name in old if name in new and old[name] != new[name]}
    return Difference(
        added={name: rule for name, rule in new.items() if name not in old},
        removed={name: rule for name, rule in old.items() if name not in new},
        changed=changed,
    )


def _changed(old: dict[str, Any], new: dict[str, Any]) -> dict[str, ChangedKey]:
    keys = dict.fromkeys([*old, *new])
    return {key: ChangedKey(before=old.get(key), after=new.get(key)) for key in keys if old.get(key) != new.get(key)}
