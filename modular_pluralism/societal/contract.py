"""A contract: rules for answers, which are stated, incomplete as any contract's, and can be contested.

After section 4.3 of Stańczak et al. (arXiv 2503.00069). It is one TOML file, checked when it is read, so that a mistake
is told with its file, table and key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from modular_pluralism.checked import checked, hint
from modular_pluralism.errors import ContractError
from modular_pluralism.societal.rule import Rule, Scope
from modular_pluralism.societal.verifiers.registry import VERIFIERS
from modular_pluralism.table import NAME, NAME_RULE, Table, at, brief, in_words, one_space, unknown
from modular_pluralism.toml_file import TomlKind, parse_toml, read_toml

CONTRACT_FILE = TomlKind(ContractError, "contract", "give the path of a contract's .toml file")


class Contract(Table):
    """The rules for answers, by name, in the order of the file.

    Args:
        rules: The file's [rules.*] tables.
        name: For people to read: the file's path, where there is one.

    Example:
        ```python
        from modular_pluralism.societal.contract import Contract

        contract = Contract(rules={"short": {"verify": {"words": {"max": 120}}}})
        print(contract.version, list(contract.applying("subsidies")))
        ```
    """

    _error = ContractError

    rules: dict[str, Rule]
    name: Annotated[str, Field(exclude=True)] = "contract"

    @classmethod
    @checked
    def load(cls, path: str | Path) -> Self:
        """Read a contract.

        Args:
            path: The path of a TOML file.

        Returns:
            The contract, checked.

        Raises:
            ContractError: In one sentence that names the file, the table and the key, and says how to mend it.
            ModelLoadError: A library that a verifier needs is not installed.
            ConfigurationError: A verifier of another package cannot be loaded.
        """
        return cls.from_toml(read_toml(Path(path), CONTRACT_FILE), source=str(path))

    @classmethod
    @checked
    def from_toml(cls, text: str, *, source: str) -> Self:
        """Read a contract from a text, which messages call `source`. Raises as `load` does."""
        return cls.from_data(parse_toml(text, source, CONTRACT_FILE), source=source)

    @classmethod
    @checked
    def from_data(cls, data: Mapping[str, Any], *, source: str = "contract") -> Self:
        """Read a contract from plain values, such as `data` gives. Raises as `load` does."""
        for key in data:
            if key != "rules":
                raise ContractError(f"{source}: {unknown(key, ['rules'], is_table=isinstance(data[key], dict))}")
        try:
            return cls.model_validate({"rules": {}, **data, "name": source})
        except ValidationError as error:
            raise ContractError(f"{source}: {_sentence(error.errors(include_url=False)[0])}") from error

    @property
    def data(self) -> dict[str, Any]:
        """The contract in plain, JSON-serialisable values, as a run's state keeps it."""
        return self.model_dump(mode="json", by_alias=True)

    @property
    def version(self) -> str:
        """Twelve hexadecimal digits that every change of a rule changes; comments, the order of rules and the file's
        name do not."""
        text = json.dumps(self.data, sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def applying(self, attribute: str | None = None, day: date | None = None) -> dict[str, Rule]:
        """The rules for a question with this attribute that hold on that day (None: whenever), by name."""
        return {name: rule for name, rule in self.rules.items() if rule.applies(attribute, day)}

    def check_holders(self, communities: Iterable[str]) -> None:
        """Check that the communities that hold rules, and that verifiers name, are some of these.

        Raises:
            ContractError: One of them is not.
        """
        known = list(communities)
        for name, rule in self.rules.items():
            cited = getattr(rule.verify and rule.verify.named().get("must_cite"), "communities", [])
            for key, named in (("held_by", rule.held_by or []), ("verify.must_cite.communities", cited)):
                if others := [each for each in named if each not in known]:
                    raise ContractError(
                        f"{self.name}: [rules.{name}] {key} names no community of the pool ({brief(others[0])}); use "
                        f"some of {', '.join(known)}{hint(others[0], known)}"
                    )

    @classmethod
    def _refusal(cls, error: ErrorDetails, given: Mapping[str, Any]) -> str:  # noqa: ARG003 - its name is in no message
        """See Table."""
        left_out = error["type"] == "missing" and len(error["loc"]) == 1
        return f"contract: there is no {error['loc'][0]}; give it" if left_out else f"contract: {_sentence(error)}"

    @model_validator(mode="after")
    def _check_whole(self) -> Self:
        if not self.rules:
            raise ValueError("there is no [rules.*] table; add [rules.NAME] with text or verify")
        seen: dict[str, str] = {}
        said: dict[str, str] = {}
        for name, rule in self.rules.items():
            if not NAME.fullmatch(name):
                raise ValueError(f"[rules.{brief(name)}] {NAME_RULE}")
            earlier = seen.setdefault(name.lower(), name)
            if earlier != name:
                raise ValueError(
                    f"[rules.{name}] differs from [rules.{earlier}] only in upper and lower case; rename one of them"
                )
            same = said.setdefault(_said(rule), name)
            if same != name:
                raise ValueError(f"[rules.{name}] says the same as [rules.{same}] of the same questions; keep one")
        return self


def _said(rule: Rule) -> str:
    """What two rules have in common that say the same of the same questions, whoever holds them."""
    scope = None if rule.scope is None else one_space(rule.scope.attribute).casefold()
    text = None if rule.text is None else one_space(rule.text).casefold()
    verify = None if rule.verify is None else rule.verify.model_dump(mode="json", by_alias=True)
    return json.dumps([text, scope, verify], sort_keys=True)


# Words for messages: pydantic's errors, told in terms of the file


def _sentence(error: ErrorDetails) -> str:
    """One pydantic error as a sentence that names table and key, and says what has to stand there."""
    names = [str(part) for part in error["loc"]]
    table = f"[rules.{names[1] if NAME.fullmatch(names[1]) else brief(names[1])}]" if len(names) > 1 else ""
    inner = names[2:] if table else names
    if error["type"] == "extra_forbidden":
        place = ".".join(inner[:-1])
        return f"{at(table)}{at(place)}{unknown(inner[-1], _keys(inner[:-1]), is_table=False)}"
    key = ".".join(inner)
    if error["type"] == "missing":
        return f"{at(table)}there is no {key}; add a line '{key} = ...'"
    return in_words(error, table, key, ())


def _keys(place: list[str]) -> list[str]:
    """The keys that a table within a rule may have."""
    table: type[Table] = Rule
    if place[:1] == ["scope"]:
        table = Scope
    elif place[:1] == ["verify"] and len(place) > 1:
        table = VERIFIERS[place[1]]
    return [field.alias or name for name, field in table.model_fields.items()]
