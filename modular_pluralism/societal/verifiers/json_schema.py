"""Whether an answer is JSON that follows a schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from time import monotonic
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from modular_pluralism.checked import shown
from modular_pluralism.societal.verifiers.bounded_regex import SECONDS, compiled, searched
from modular_pluralism.societal.verifiers.candidate import Candidate, Finding, finding
from modular_pluralism.societal.verifiers.verifier import Verifier

_LONGEST = 200
"""Characters of what the validator says, which may quote a whole answer."""


_FOR_PEOPLE = {
    *("$schema", "$id", "$anchor", "$dynamicAnchor", "$defs", "$comment", "$vocabulary"),
    *("title", "description", "default", "deprecated", "examples", "readOnly", "writeOnly", "format"),
    *("contentEncoding", "contentMediaType", "contentSchema", "then", "else", "minContains", "maxContains"),
}
"""Keywords that constrain nothing, or only together with another one."""


def _checked(schema: dict[str, Any]) -> dict[str, Any]:
    from jsonschema import Draft202012Validator, SchemaError  # a tenth of a second that few contracts need

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise ValueError(f"is no JSON schema ({error.message:.{_LONGEST}}); correct it") from None
    known = {*Draft202012Validator.VALIDATORS, *_FOR_PEOPLE} - {"patternProperties"}
    for part in _parts(schema):
        for keyword in part:
            if keyword not in known:
                raise ValueError(f"has the keyword {shown(keyword)}, by which no answer is checked; remove it")
        if "pattern" in part:
            try:
                compiled(part["pattern"])
            except ValueError as error:
                raise ValueError(f"has a pattern that {error}") from None
    return schema


def _parts(schema: Any) -> Iterator[Mapping[str, Any]]:
    """The schema and those within it."""
    from referencing.jsonschema import DRAFT202012

    left = [schema]
    while left:
        part = left.pop()
        if isinstance(part, Mapping):  # true and false are schemas, too
            yield part
            left += DRAFT202012.subresources_of(part)


class JsonSchema(Verifier):
    """A JSON schema (draft 2020-12) that the whole answer follows. References are looked up in the schema alone, a
    `format` is not checked, and patternProperties, which may take any time, are refused."""

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
            return Finding("silent", f"the schema took longer than {SECONDS:g} s; write a simpler one")
        except _UnresolvedError as unknown:
            return Finding("silent", f"the schema refers to {unknown}, which it does not hold")
        except RecursionError:
            return Finding("silent", "the answer, or what the schema refers to, is nested too deeply")
        return finding(problem is None, problem or "it follows the schema")


class _UnresolvedError(Exception):
    """A reference to what is not in the schema."""


def _problem(schema: Mapping[str, Any], value: Any) -> str | None:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError, best_match
    from jsonschema.validators import extend
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    end = monotonic() + SECONDS

    def left() -> float:
        if (seconds := end - monotonic()) <= 0:
            raise TimeoutError
        return seconds

    def in_time(check: Any) -> Any:
        """References that refer to each other can take exponential time, too."""

        def checked(*given: Any) -> Iterator[ValidationError]:
            left()
            yield from check(*given) or ()

        return checked

    def pattern(_validator: Any, wanted: str, instance: object, _schema: object) -> Iterator[ValidationError]:
        if isinstance(instance, str) and searched(compiled(wanted), instance, left()) is None:
            yield ValidationError(f"{instance!r} does not match {wanted!r}")

    checks = {keyword: in_time(check) for keyword, check in Draft202012Validator.VALIDATORS.items()}
    # With a registry of its own, no reference is looked up on the net.
    validator = extend(Draft202012Validator, {**checks, "pattern": pattern})(schema, registry=Registry())
    try:
        error = best_match(validator.iter_errors(value))
    except Unresolvable as unknown:
        raise _UnresolvedError(f"{unknown.ref!r:.{_LONGEST}}") from None
    if error is None:
        return None
    place = ".".join(map(str, error.absolute_path))
    return f"{place}: {error.message:.{_LONGEST}}" if place else f"{error.message:.{_LONGEST}}"
