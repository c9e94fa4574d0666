"""Whether an answer is JSON that follows a schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from modular_pluralism.societal.verifiers.bounded_regex import SECONDS, compiled, searched
from modular_pluralism.societal.verifiers.candidate import Candidate, Finding, finding
from modular_pluralism.societal.verifiers.verifier import Verifier

_LONGEST = 200
"""Characters of what the validator says, which may quote a whole answer."""


def _checked(schema: dict[str, Any]) -> dict[str, Any]:
    from jsonschema import Draft202012Validator, SchemaError  # a tenth of a second that few contracts need

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise ValueError(f"is no JSON schema ({error.message:.{_LONGEST}}); correct it") from None
    for pattern in _patterns(schema):
        try:
            compiled(pattern)
        except ValueError as error:
            raise ValueError(f"has a pattern that {error}") from None
    return schema


def _patterns(schema: object) -> Iterator[str]:
    """Every pattern in it. Keys that are patterns are matched by the library itself, in any time they take."""
    if isinstance(schema, Mapping):
        if "patternProperties" in schema:
            raise ValueError("has patternProperties, which may take any time; name the properties")
        for name, inner in schema.items():
            if name == "pattern" and isinstance(inner, str):
                yield inner
            yield from _patterns(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _patterns(inner)


class JsonSchema(Verifier):
    """A JSON schema (draft 2020-12) that the whole answer follows. References are looked up in the schema alone, and a
    `format` is not checked."""

    name = "json_schema"
    example = '{ schema = { type = "object", required = ["answer"] } }'

    definition: Annotated[dict[str, Any], Field(alias="schema", min_length=1), AfterValidator(_checked)]

    def finding(self, candidate: Candidate) -> Finding:
        """See Verifier."""
        try:
            value = json.loads(candidate.text)
        except (ValueError, RecursionError):
            return finding(False, "it is no JSON")
        try:
            problem = _problem(self.definition, value)
        except TimeoutError:
            return Finding("silent", f"a pattern of the schema took longer than {SECONDS:g} s; write a simpler one")
        except _UnresolvedError as unknown:
            return Finding("silent", f"the schema refers to {unknown}, which it does not hold")
        return finding(problem is None, problem or "it follows the schema")


class _UnresolvedError(Exception):
    """A reference to what is not in the schema."""


def _problem(schema: Mapping[str, Any], value: Any) -> str | None:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError, best_match
    from jsonschema.validators import extend
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    def pattern(_validator: Any, wanted: str, instance: object, _schema: object) -> Iterator[ValidationError]:
        if isinstance(instance, str) and searched(compiled(wanted), instance) is None:
            yield ValidationError(f"{instance!r} does not match {wanted!r}")

    # With a registry of its own, no reference is looked up on the net.
    validator = extend(Draft202012Validator, {"pattern": pattern})(schema, registry=Registry())
    try:
        error = best_match(validator.iter_errors(value))
    except Unresolvable as unknown:
        raise _UnresolvedError(f"{unknown.ref!r:.{_LONGEST}}") from None
    except RecursionError:
        return "it is nested too deeply"
    if error is None:
        return None
    place = ".".join(map(str, error.absolute_path))
    return f"{place}: {error.message:.{_LONGEST}}" if place else f"{error.message:.{_LONGEST}}"
