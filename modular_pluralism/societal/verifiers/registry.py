"""Every verifier, by name: contracts, documents and help texts read them from here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import ConfigDict, Field, create_model, model_validator

from modular_pluralism.checked import hint
from modular_pluralism.errors import ContractError
from modular_pluralism.societal.verifiers import installed
from modular_pluralism.societal.verifiers.candidate import Candidate, Finding
from modular_pluralism.societal.verifiers.forbidden_text import ForbiddenText
from modular_pluralism.societal.verifiers.json_schema import JsonSchema
from modular_pluralism.societal.verifiers.language import Language
from modular_pluralism.societal.verifiers.must_cite import MustCite
from modular_pluralism.societal.verifiers.must_represent import MustRepresent
from modular_pluralism.societal.verifiers.pattern import Pattern
from modular_pluralism.societal.verifiers.reading_level import ReadingLevel
from modular_pluralism.societal.verifiers.sentences import Sentences
from modular_pluralism.societal.verifiers.verifier import Verifier
from modular_pluralism.societal.verifiers.words import Words
from modular_pluralism.table import Table, brief

VERIFIERS: Mapping[str, type[Verifier]] = {
    each.name: each
    for each in (
        Words,
        Sentences,
        Pattern,
        ForbiddenText,
        JsonSchema,
        Language,
        ReadingLevel,
        MustCite,
        MustRepresent,
    )
}
"""Those of the package. Who adds one adds a file and a line here."""


def verifier_names() -> list[str]:
    """The package's, and those that are installed."""
    return list(dict.fromkeys([*VERIFIERS, *installed.names()]))


class VerifyTable(Table):
    """What a rule is verified by: a table with one key, which is a verifier's name, and its settings."""

    _error = ContractError
    model_config = ConfigDict(extra="allow")

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        for name, settings in (self.__pydantic_extra__ or {}).items():
            known = verifier_names()
            if name not in known:
                raise ValueError(
                    f"names no verifier that is installed ({brief(name)}); use one of {', '.join(known)}, or install "
                    f"the package that brings it{hint(name, known)}"
                )
            if not isinstance(settings, dict):
                raise ValueError(f"has {brief(settings)} for {name}; write a table of its settings, such as {{}}")
            installed.load(name)
        given = list(self.named())
        if len(given) != 1:
            told = f"names {len(given)} verifiers ({', '.join(given)})" if given else "names no verifier"
            raise ValueError(f"{told}; write one: {', '.join(verifier_names())}")
        return self

    def named(self) -> dict[str, Any]:
        """The verifiers that are given, by name: one, in a table that has been checked."""
        built_in = {name: each for name in VERIFIERS if (each := getattr(self, name)) is not None}
        return {**built_in, **(self.__pydantic_extra__ or {})}

    @property
    def verifier(self) -> str:
        """The verifier's name."""
        return next(iter(self.named()))

    def finding(self, candidate: Candidate) -> Finding:
        """Whether the candidate keeps the rule, with the reason.

        Raises:
            ConfigurationError: a verifier of another package fails.
            ModelLoadError: a library that the verifier needs is not installed.
        """
        [(name, verifier)] = self.named().items()
        if isinstance(verifier, Verifier):
            return verifier.finding(candidate)
        return installed.finding(name, candidate, verifier)


if TYPE_CHECKING:
    Verify = VerifyTable
else:
    Verify = create_model(
        "Verify",
        __base__=VerifyTable,
        **{
            name: (Annotated[table | None, Field(exclude_if=lambda given: given is None)], None)
            for name, table in VERIFIERS.items()
        },
    )
"""The same with a key for each of the package's verifiers, so that an error has the place of the setting."""
