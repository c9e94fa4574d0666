"""What mkdocstrings is told of pydantic models and typed dicts: they are called with their fields."""

from __future__ import annotations

from typing import Any

import griffe

_CALLED = {"pydantic.BaseModel", "typing.TypedDict", "typing_extensions.TypedDict"}
"""Classes whose subclasses are called with their fields."""


class Fields(griffe.Extension):
    """Gives models and typed dicts the signature that they have, and shows types without what they are checked for."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """See griffe.Extension."""
        found = [each for module in _modules(pkg) for each in module.classes.values() if not each.is_alias]
        for each in [each for each in found if _is_called(each) and "__init__" not in each.members]:
            each.set_member("__init__", _signature(each))
        for each in found:
            each.bases = [base for base in each.bases if not str(base).startswith("_")]


def _modules(module: griffe.Module) -> list[griffe.Module]:
    inside = [each for each in module.modules.values() if not each.is_alias]
    return [module, *(found for each in inside for found in _modules(each))]


def _is_called(each: griffe.Class) -> bool:
    bases = [base for every in (each, *each.mro()) for base in every.bases]
    return any(str(getattr(base, "canonical_path", base)) in _CALLED for base in bases)


def _signature(called: griffe.Class) -> griffe.Function:
    made = griffe.Function("__init__", lineno=called.lineno, endlineno=called.endlineno, parent=called)
    made.parameters = griffe.Parameters(griffe.Parameter("self", kind=griffe.ParameterKind.positional_or_keyword))
    fields = {name: field for each in (*reversed(called.mro()), called) for name, field in _fields(each).items()}
    for name, field in fields.items():
        kind = griffe.ParameterKind.keyword_only
        made.parameters.add(
            griffe.Parameter(name, annotation=field.annotation, kind=kind, default=_default(field.value))
        )
    return made


def _fields(each: griffe.Class) -> dict[str, griffe.Attribute]:
    found = {
        name: field
        for name, field in each.attributes.items()
        if field.annotation and "property" not in field.labels and not name.startswith("_")
    }
    for field in found.values():
        field.annotation = _checked_type(each, field.annotation)
    return found


def _default(value: Any) -> Any:
    """A field's default; one that a function makes is told as such."""
    return value if not str(value).startswith("Field(") else "..."


def _checked_type(model: griffe.Class, annotation: Any) -> Any:
    """The annotation with each private name for a type and the checks of its values replaced by the type itself."""
    if isinstance(annotation, griffe.ExprName) and annotation.name.startswith("_"):
        value = getattr(model.module.members.get(annotation.name), "value", None)
        return annotation if value is None else _checked_type(model, _unwrapped(value))
    if isinstance(annotation, griffe.ExprBinOp):
        annotation.left = _checked_type(model, annotation.left)
        annotation.right = _checked_type(model, annotation.right)
    elif isinstance(annotation, griffe.ExprSubscript):
        annotation.slice = _checked_type(model, annotation.slice)
    elif isinstance(annotation, griffe.ExprTuple):
        annotation.elements = [_checked_type(model, element) for element in annotation.elements]
    return annotation


def _unwrapped(value: Any) -> Any:
    """T of Annotated[T, …]."""
    if not isinstance(value, griffe.ExprSubscript) or str(value.left) != "Annotated":
        return value
    return value.slice.elements[0] if isinstance(value.slice, griffe.ExprTuple) else value.slice
