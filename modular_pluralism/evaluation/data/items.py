"""The items of a task file: what a method is asked, and what its answer is measured against.

The format is that of the paper's release, which other benchmarks have taken over: a JSON list of objects. Every item
has `options` [n_options] and `gold`, what the answer really is, as a distribution over them (an Overton item has none),
an `attribute`, None where it has none, and a `situation`: items of the same one ask the same question.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

Kind = Literal["distributional", "steerable-opinion", "steerable-value", "overton"]
"""What a task file asks: the option distribution of all people or of a country's, that of a demographic group, whether
a value supports a situation, or an answer that covers many values."""

ItemId: TypeAlias = int | str

STANCES = ("Support", "Oppose", "Either")
"""What the options A, B and C of a steerable item by value say."""


@dataclass(frozen=True)
class OptionItem:
    """Of distributional and OpinionQA files. `gold` [n_options] sums to 1; `predicted` is None until it is filled in.

    `question` is the file's text with its lettered options taken off the end, where they could be found there
    (`options_found`); the options are shown to the model in their own way, in several orders.
    """

    id: ItemId
    question: str
    options: tuple[str, ...]
    attribute: str
    gold: tuple[float, ...]
    predicted: tuple[float, ...] | None
    options_found: bool

    @property
    def situation(self) -> str:
        """The question itself: items that differ in their attribute alone ask the same one."""
        return self.question


@dataclass(frozen=True)
class ValueItem:
    """Of steerable files by value: whether `value` supports, opposes or either supports or opposes `situation`.

    `label` is "A", "B" or "C", as in STANCES; `question` is the file's `input` without its lettered options; `output`
    is None until it is filled in.
    """

    id: ItemId
    situation: str
    value: str
    label: Literal["A", "B", "C"]
    question: str
    output: str | None
    options: ClassVar[tuple[str, ...]] = STANCES

    @property
    def attribute(self) -> str:
        """The value."""
        return self.value

    @property
    def gold(self) -> tuple[float, ...]:
        """All for the right stance."""
        return tuple(float(letter == self.label) for letter in "ABC")


@dataclass(frozen=True)
class OvertonItem:
    """Of Overton files: `values` [n] with an explanation each, [n], against which coverage is judged; `question` is the
    file's `input`; `output` is None until it is filled in."""

    id: ItemId
    situation: str
    values: tuple[str, ...]
    explanations: tuple[str, ...]
    question: str
    output: str | None
    by_perspectives: bool = False
    """Whether reports tell how many values it has: in the test with n perspectives, each is one."""
    options: ClassVar[tuple[str, ...]] = ()
    attribute: ClassVar[None] = None
    gold: ClassVar[tuple[float, ...]] = ()


Item: TypeAlias = OptionItem | ValueItem | OvertonItem
