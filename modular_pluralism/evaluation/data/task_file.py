"""A task file: everything in it is checked before any model is loaded, and its items are read one at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeAlias, cast, get_args

from modular_pluralism.errors import TaskFileError
from modular_pluralism.evaluation.data.items import STANCES, Item, ItemId, Kind, OptionItem, OvertonItem, ValueItem
from modular_pluralism.evaluation.data.json_list import JsonList
from modular_pluralism.evaluation.data.perspective_table import PERSPECTIVES, PerspectiveTable
from modular_pluralism.file_names import check_is_utf8
from modular_pluralism.option_math import MOST_OPTIONS
from modular_pluralism.records.populations import DEMOGRAPHIC
from modular_pluralism.records.question_text import without_options

TOLERANCE = 1e-3
"""How far from 1 a distribution may sum."""

_Shape: TypeAlias = Literal["option", "value", "overton"]
_SHAPES: dict[_Shape, tuple[str, ...]] = {
    "option": ("gold_distribution", "options"),
    "value": ("label",),
    "overton": ("explanation",),
}
"""The fields that tell what kind of item it is, in the order in which they are looked for."""


class TaskFile:
    """A checked task file.

    `count` is its number of items, of which `equal_options` have two equal options, `single_option` have just one, and
    `unparsed` end in no lettered options that could be taken off. `digest` is the file's SHA-256.
    """

    def __init__(self, path: Path, kind: Kind | None) -> None:
        """Use `TaskFile.open`."""
        self.path = path
        self.count = 0
        self.equal_options = 0
        self.single_option = 0
        self.unparsed = 0
        table = path.suffix.lower() == ".csv"
        self._list: JsonList | PerspectiveTable = PerspectiveTable(path) if table else JsonList(path)
        self._shape: _Shape | None = None
        self.kind: Kind = self._check(kind)
        self.digest: str = self._list.digest or ""

    @classmethod
    def open(cls, path: Path, *, kind: Kind | None = None) -> TaskFile:
        """Read the whole file once and check every item; memory is that of one item, and of 16 bytes for each id.

        The kind is found from the fields: option items whose attributes all look like RELIG_Atheist are
        "steerable-opinion", and "distributional" otherwise; `kind` says which of these two it is.

        Raises:
            TaskFileError: the file cannot be read, or an item of it cannot be used; names the item and the field.
        """
        if kind is not None and kind not in get_args(Kind):
            raise TaskFileError(f"There is no kind {kind!r} of task file; name one of {', '.join(get_args(Kind))}.")
        check_is_utf8(Path(path.name), TaskFileError)
        return cls(path, kind)

    def items(self, limit: int | None = None, start: int = 0) -> Iterator[Item]:
        """The items in the file's order: `limit` of them (None for all), from place `start` (from 0)."""
        stop = None if limit is None else start + limit
        for place, raw in islice(enumerate(self._list.objects(), start=1), start, stop):
            yield self._item(raw, place)

    def raw(self) -> Iterator[dict[str, Any]]:
        """The items as the file has them, with every field."""
        return self._list.objects()

    def _check(self, wanted: Kind | None) -> Kind:
        seen: set[bytes] = set()
        all_groups = True
        for place, raw in enumerate(self._list.objects(), start=1):
            item = self._item(raw, place)
            # 1 and "1" are one id where JSON objects are keyed by it. (Its digest takes less memory than a long one.)
            known = blake2b(str(item.id).encode(), digest_size=16).digest()
            if known in seen:
                self._refuse(raw, place, "id", "is the same as that of an item before; give each item its own")
            seen.add(known)
            self.count += 1
            if isinstance(item, OptionItem):
                all_groups = all_groups and DEMOGRAPHIC.match(item.attribute) is not None
                self.equal_options += len(set(item.options)) < len(item.options)
                self.single_option += len(item.options) == 1
                self.unparsed += not item.options_found
            elif isinstance(item, ValueItem):
                self.unparsed += not without_options(cast(str, raw["input"]), STANCES)[1]
        if not self.count:
            raise TaskFileError(f"{self.path} holds no items; name a task file with at least one.")
        return self._kind(wanted, all_groups)

    def _kind(self, wanted: Kind | None, all_groups: bool) -> Kind:
        match self._shape:
            case "value":
                kind: Kind = "steerable-value"
            case "overton":
                kind = "overton"
            case _:
                kind = "steerable-opinion" if all_groups else "distributional"
                if wanted in ("steerable-opinion", "distributional"):
                    return wanted
        if wanted not in (None, kind):
            raise TaskFileError(f"{self.path} is a file of the kind {kind}, not {wanted}; leave the kind out.")
        return kind

    def _item(self, raw: dict[str, Any], place: int) -> Item:
        shape = next((shape for shape, fields in _SHAPES.items() if any(field in raw for field in fields)), self._shape)
        if shape is None:
            raise TaskFileError(
                f"{self.path}, item {place}, has none of the fields gold_distribution, label and explanation, so there "
                "is nothing to measure against; use the format of the paper's task files."
            )
        if self._shape not in (None, shape):
            named = " or ".join(_SHAPES[shape])
            self._refuse(raw, place, named, "belongs to another task than the items before; use one file for each task")
        self._shape = shape
        fields = _Fields(self, raw, place)
        match shape:
            case "option":
                return _option_item(fields)
            case "value":
                return _value_item(fields)
            case "overton":
                return _overton_item(fields)

    def _refuse(self, raw: Mapping[str, Any], place: int, field: str, problem: str) -> NoReturn:
        known = raw.get("id")
        named = f" (id {_plain(str(known)[:80])})" if isinstance(known, int | str) else ""
        raise TaskFileError(f"{self.path}, item {place}{named}, field {field}: {problem}.")


def _plain(text: str) -> str:
    """Without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


class _Fields:
    """The fields of one item, each checked as it is asked for."""

    def __init__(self, file: TaskFile, raw: dict[str, Any], place: int) -> None:
        self._file = file
        self._raw = raw
        self._place = place

    def refuse(self, field: str, problem: str) -> NoReturn:
        self._file._refuse(self._raw, self._place, field, problem)

    def id(self) -> ItemId:
        value = self._needed("id")
        if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
            self.refuse("id", "is neither a whole number nor a text; give each item one")
        return value

    def has(self, field: str) -> bool:
        return self._raw.get(field) is not None

    def text(self, field: str) -> str:
        return self._text(field, self._needed(field))

    def optional_text(self, field: str) -> str | None:
        value = self._raw.get(field)
        if value is not None and not isinstance(value, str):
            self.refuse(field, "is neither a text nor null; correct it")
        return value

    def texts(self, field: str) -> tuple[str, ...]:
        """At least one."""
        value = self._needed(field)
        if not isinstance(value, list) or not value:
            self.refuse(field, "is not a list with at least one text in it; correct it")
        return tuple(self._text(field, each) for each in value)

    def distribution(self, field: str, options: int) -> tuple[float, ...]:
        value = self._needed(field)
        if not isinstance(value, list):
            self.refuse(field, "is not a list of numbers; correct it")
        if len(value) != options:
            self.refuse(field, f"has {len(value)} numbers for {options} options; give each option one")
        for share in value:
            if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < math.inf:
                self.refuse(field, f"has {str(share)[:40]} in it, which is no share; each is a number from 0 to 1")
        total = math.fsum(value)
        if abs(total - 1) > TOLERANCE:
            self.refuse(field, f"sums to {total:.6g}, not to 1; correct it")
        return tuple(float(share) for share in value)

    def optional_distribution(self, field: str, options: int) -> tuple[float, ...] | None:
        return None if self._raw.get(field) is None else self.distribution(field, options)

    def _needed(self, field: str) -> Any:
        value = self._raw.get(field)
        if value is None:
            self.refuse(field, "is null; fill it in" if field in self._raw else "is missing; add it")
        return value

    def _text(self, field: str, value: object) -> str:
        if not isinstance(value, str):
            self.refuse(field, f"has {str(value)[:40]} where a text has to be; correct it")
        if not value.strip():
            self.refuse(field, "is an empty text; fill it in")
        return value


def _option_item(fields: _Fields) -> OptionItem:
    options = fields.texts("options")
    if len(options) > MOST_OPTIONS:
        fields.refuse("options", f"lists {len(options)} options, and letters end at {MOST_OPTIONS}; leave some out")
    question, taken_off = without_options(fields.text("question"), options)
    return OptionItem(
        id=fields.id(),
        question=question,
        options=options,
        attribute=fields.text("attribute"),
        gold=fields.distribution("gold_distribution", len(options)),
        predicted=fields.optional_distribution("pred_distribution", len(options)),
        options_found=taken_off,
    )


def _value_item(fields: _Fields) -> ValueItem:
    label = fields.text("label")
    if label not in ("A", "B", "C"):
        fields.refuse("label", f"is {label[:40]!r}; it has to be A (support), B (oppose) or C (either)")
    return ValueItem(
        id=fields.id(),
        situation=fields.text("situation"),
        value=fields.text("vrd"),
        label=cast(Literal["A", "B", "C"], label),
        question=without_options(fields.text("input"), STANCES)[0],
        output=fields.optional_text("output"),
    )


def _overton_item(fields: _Fields) -> OvertonItem:
    values, explanations = fields.texts("vrd"), fields.texts("explanation")
    if len(values) != len(explanations):
        fields.refuse("explanation", f"has {len(explanations)} texts for {len(values)} in vrd; give each value one")
    return OvertonItem(
        id=fields.id(),
        situation=fields.text("situation"),
        values=values,
        explanations=explanations,
        question=fields.text("input"),
        output=fields.optional_text("output"),
        by_perspectives=fields.has(PERSPECTIVES),
    )
