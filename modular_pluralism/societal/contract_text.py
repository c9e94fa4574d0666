"""Amending a contract's file; what is not meant to change stays as it is, comments, order and line ends included."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tomlkit.items import Table

from modular_pluralism.checked import hint
from modular_pluralism.edit_lock import alone_at
from modular_pluralism.errors import ContractError
from modular_pluralism.societal.contract import CONTRACT_FILE, Contract
from modular_pluralism.societal.rule import Rule
from modular_pluralism.table import NAME, NAME_RULE, brief
from modular_pluralism.toml_text import TomlText, in_toml, set_key


@dataclass(frozen=True)
class ContractText(TomlText):
    """The text of a contract's file."""

    kind = CONTRACT_FILE
    table = "[rules.NAME]"

    def check_whole(self) -> None:
        """See TomlText."""
        Contract.from_toml(self.text, source=str(self.path))


def amend(path: Path, name: str, rule: Rule) -> Contract:
    """Put a rule into a contract's file: in the place of the one of this name, of which only the keys that differ are
    written, or else behind the last one.

    Returns:
        The contract as it is then, with another version if the rule was another one.

    Raises:
        ContractError: no rule can have that name, the file cannot be read or written, is written in a way that only a
            person can edit, or would be no usable contract; it stays as it is then.
    """
    if not NAME.fullmatch(name):  # else the file would be blamed for it
        raise ContractError(f"{brief(name)} {NAME_RULE}")
    with alone_at(path, ContractError):
        file = ContractText.read(path)
        known = file.data()
        fields = rule.model_dump(exclude_unset=True, exclude_none=True, by_alias=True)
        if name in known.get("rules", {}):
            file = _with_keys(file, name, fields)
        else:
            file = file.with_table(("rules", name), {key: in_toml(value) for key, value in fields.items()})
        file.write(known | {"rules": known.get("rules", {}) | {name: fields}})
        return Contract.load(path)


def strike(path: Path, name: str) -> Contract:
    """Remove a rule from a contract's file, with the comment lines right above it.

    Returns:
        The contract as it is then.

    Raises:
        ContractError: as `amend`, or there is no such rule, or it is the only one.
    """
    with alone_at(path, ContractError):
        file = ContractText.read(path)
        known = file.data()
        rules = known.get("rules", {})
        if name not in rules:
            raise ContractError(
                f"{path} has no rule {brief(name)}; it has {', '.join(rules) or 'none'}{hint(name, rules)}"
            )
        if len(rules) == 1:
            raise ContractError(
                f"{path} has no rule but {brief(name)}, and a contract needs one; add another one first"
            )
        rest = {key: value for key, value in rules.items() if key != name}
        file.without_table(("rules", name)).write(known | {"rules": rest})
        return Contract.load(path)


def _with_keys(file: ContractText, name: str, fields: Mapping[str, Any]) -> ContractText:
    document = file.document()
    rules: Any = document["rules"]
    table = rules[name]
    if not isinstance(table, Table):
        raise file.by_hand()
    before = file.data()["rules"][name]
    for key in before.keys() - fields.keys():
        table.remove(key)
    for key, value in fields.items():
        if before.get(key) != value:
            set_key(table, key, in_toml(value))
    return file.edited(document)
