"""A schema that a reply has to follow, and the object that is made of a reply: for the engine's grammar, and for models
that can only be asked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.utils.function_calling import convert_to_json_schema
from pydantic import BaseModel, ValidationError
from pydantic.errors import PydanticUserError
from typing_extensions import is_typeddict

from modular_pluralism.errors import InputError, NoUsableReplyError
from modular_pluralism.llama.grammar import JSON_OBJECT, grammar_of_schema
from modular_pluralism.llama.schema_keywords import check_keywords, closed_objects

_LONGEST = 200
"""Characters of what a validator says, which may quote a whole reply."""

ResponseFormat = Mapping[str, Any] | type[BaseModel]
"""What ChatOpenAI takes as `response_format`: OpenAI's table, or a class of pydantic."""


@dataclass(frozen=True)
class ReplySchema:
    """A JSON schema with its name. Replies are read into `model` where there is one, else into plain values.

    `model` is no field: what remains of a schema is plain, so that a step can be made with it. `of_class` is where the
    model is written: two of equal schemas may yet refuse different replies.
    """

    name: str
    json_schema: dict[str, Any]
    model: InitVar[type[BaseModel] | None] = None
    of_class: str = field(default="", init=False)

    def __post_init__(self, model: type[BaseModel] | None) -> None:
        object.__setattr__(self, "_model", model)
        if model is not None:
            object.__setattr__(self, "of_class", f"{model.__module__}.{model.__qualname__}")
        check_keywords(self.json_schema)
        from jsonschema import Draft202012Validator, SchemaError  # a tenth of a second that few runs need

        try:
            Draft202012Validator.check_schema(self.json_schema)
        except SchemaError as error:
            raise InputError(f"The JSON schema is none: {error.message:.{_LONGEST}}.") from None
        except RecursionError:
            raise InputError("The JSON schema is nested too deeply; make it flatter.") from None

    @classmethod
    def of(cls, schema: Any) -> ReplySchema:
        """The schema of a class of pydantic, of a TypedDict, or a JSON schema as it is.

        Objects of a class have the members that it names and no others.

        Raises:
            InputError: it is none of these, or a reply cannot be kept to it.
        """
        if isinstance(schema, Mapping):
            return cls(str(schema.get("title") or "reply"), dict(schema))
        if isinstance(schema, type) and issubclass(schema, BaseModel) and schema is not BaseModel:
            try:
                return cls(schema.__name__, closed_objects(schema.model_json_schema()), schema)
            except PydanticUserError as error:
                raise InputError(f"{schema.__name__} cannot be written as a JSON schema: {error.message}.") from None
        if is_typeddict(schema):
            return cls(schema.__name__, closed_objects(convert_to_json_schema(schema)))
        raise InputError(
            f"The schema is {schema!r:.100}; give a class of pydantic, a TypedDict, or a JSON schema as a dict."
        )

    @property
    def text(self) -> str:
        """The JSON schema, for a prompt."""
        return json.dumps(self.json_schema, ensure_ascii=False)

    @property
    def response_format(self) -> dict[str, Any]:
        """As OpenAI's API is told it."""
        return {"type": "json_schema", "json_schema": {"name": self.name, "schema": self.json_schema}}

    def read(self, text: str) -> Any:
        """The object that a reply's text is.

        Raises:
            NoUsableReplyError: it is no JSON, or does not follow the schema.
        """
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            raise self._unusable("it is no JSON") from None
        if (problem := self._problem(value)) is not None:
            raise self._unusable(problem)
        model: type[BaseModel] | None = getattr(self, "_model")  # noqa: B009 - see __post_init__
        if model is None:
            return value
        try:
            return model.model_validate(value)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise self._unusable(f"{where}: {first['msg']}" if where else first["msg"]) from None

    def read_message(self, message: BaseMessage) -> Any:
        """As `read`, of a whole message."""
        if message.response_metadata.get("finish_reason") == "length":
            raise NoUsableReplyError(
                f"The reply was cut off before it was a whole {self.name}; raise max_tokens, or ask for less.", 1
            )
        return self.read(str(message.text))

    def plain(self, text: str) -> Any:
        """As `read`, in plain values."""
        value = self.read(text)
        return value.model_dump(mode="json") if isinstance(value, BaseModel) else value

    def _problem(self, value: Any) -> str | None:
        """What is wrong with a value, with its place in it; None where it follows the schema."""
        from jsonschema import Draft202012Validator
        from jsonschema.exceptions import best_match
        from referencing import Registry
        from referencing.exceptions import Unresolvable

        # With a registry of its own, no reference is looked up on the net.
        validator = Draft202012Validator(self.json_schema, registry=Registry())
        try:
            error = best_match(validator.iter_errors(value))
        except Unresolvable as unknown:
            raise InputError(f"The JSON schema refers to {unknown.ref!r}, which it does not hold; add it.") from None
        except RecursionError:
            return "it is nested too deeply"
        if error is None:
            return None
        place = ".".join(map(str, error.absolute_path))
        return f"{place}: {error.message:.{_LONGEST}}" if place else f"{error.message:.{_LONGEST}}"

    def _unusable(self, why: str) -> NoUsableReplyError:
        return NoUsableReplyError(
            f"The reply is no {self.name} ({why}); ask again, or use a model that follows instructions.", 1, why
        )


def schema_of_format(response_format: ResponseFormat | None) -> ReplySchema | None:
    """The schema of a `response_format`; None where texts of any form, or any JSON objects, are wanted.

    Raises:
        InputError: it says neither.
    """
    if isinstance(response_format, type):
        return ReplySchema.of(response_format)
    if response_format is None or response_format.get("type") in ("text", "json_object"):
        return None
    wanted = response_format.get("json_schema")
    schema = wanted.get("schema") if isinstance(wanted, Mapping) else None
    if response_format.get("type") != "json_schema" or not isinstance(schema, Mapping):
        raise InputError(
            'response_format must be {"type": "json_schema", "json_schema": {"name": …, "schema": …}}, {"type": '
            '"json_object"}, {"type": "text"}, or a class of pydantic.'
        )
    assert isinstance(wanted, Mapping)
    return ReplySchema(str(wanted.get("name") or "reply"), dict(schema))


def grammar_of_format(response_format: ResponseFormat | None) -> str | None:
    """The grammar that keeps a text to a `response_format`; None where any text will do.

    Raises:
        InputError: it is none, or its schema holds something that no grammar can express.
        ModelLoadError: llguidance is not installed.
    """
    schema = schema_of_format(response_format)
    if schema is not None:
        return grammar_of_schema(schema.json_schema)
    is_object = isinstance(response_format, Mapping) and response_format.get("type") == "json_object"
    return JSON_OBJECT if is_object else None
