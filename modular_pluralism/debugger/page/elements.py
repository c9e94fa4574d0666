"""Small pieces that every view is made of. Text is always text: nothing here takes HTML or Markdown."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from inspect import isawaitable
from typing import Any, TypeVar

from nicegui import context, ui
from nicegui.element import Element
from nicegui.elements.mixins.text_element import TextElement

from modular_pluralism.errors import PluralismError
from modular_pluralism.evaluation.report.plain_text import fact_text

ICON = (
    '<svg viewBox="0 0 32 32" xmlns="http://www.w3.org/2000/svg">'
    '<rect width="32" height="32" rx="8" fill="#3d4f8f"/>'
    '<g stroke="#fff" stroke-opacity=".7" stroke-width="1.6"><path d="M16 16 8 8M16 16l8-8M16 16l-8 8M16 16l8 8"/></g>'
    '<circle cx="16" cy="16" r="4" fill="#fff"/>'
    '<circle cx="8" cy="8" r="3" fill="#f2c14e"/><circle cx="24" cy="8" r="3" fill="#7fc8a9"/>'
    '<circle cx="8" cy="24" r="3" fill="#f08a6b"/><circle cx="24" cy="24" r="3" fill="#9db8f5"/></svg>'
)
"""The page's icon: several voices around one answer."""

AnyElement = TypeVar("AnyElement", bound=Element)
Click = Callable[[], Awaitable[None] | None]
_UNSHOWN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def box(classes: str = "", tag: str = "div", *, label: str | None = None, **values: Any) -> Element:
    """A container; `with box(...):` fills it. `label` is what is read aloud, and `values` are HTML attributes."""
    return attributes(ui.element(tag).classes(classes), label=label, **values)


@contextmanager
def card(title: str, classes: str = "stack") -> Iterator[None]:
    """A part of the page that stands for itself, under its title."""
    with box(f"card {classes}"):
        text(title, tag="h2")
        yield


@contextmanager
def refilled(element: Element) -> Iterator[None]:
    """Fill an element anew."""
    element.clear()
    with element:
        yield


def text(content: str, classes: str = "", tag: str = "div", *, label: str | None = None, **values: Any) -> TextElement:
    """Some text, shown as it stands."""
    return attributes(TextElement(tag=tag, text=visible(content)).classes(classes), label=label, **values)


def visible(content: str) -> str:
    """The text without what no browser shows: control characters, and halves of characters, which cannot be sent."""
    return _UNSHOWN.sub("", content)


def button(
    content: str,
    on_click: Click,
    *,
    icon: str | None = None,
    kind: str = "btn",
    label: str | None = None,
    **values: Any,
) -> Element:
    """A native button, so that the keyboard works on it as everywhere; `label` is what is read aloud instead. An error
    of `on_click` is shown."""
    client = context.client

    async def click() -> None:
        try:
            doing = on_click()
            if isawaitable(doing):
                await doing
        except PluralismError as error:
            with client:  # what was clicked may be gone
                notify(str(error), bad=True)

    with box(kind, "button", label=label, type="button", **values) as made:
        if icon:
            ui.icon(icon)
        if content:
            text(content, tag="span")
    return made.on("click", click)


def notify(words: str, *, bad: bool = False) -> None:
    """A short message that goes away."""
    ui.notify(
        words,
        type="negative" if bad else "positive",
        position="top",
        multi_line=True,
        timeout=9000 if bad else 3500,
        close_button="Close" if bad else False,
    )


def attributes(element: AnyElement, /, label: str | None = None, **values: Any) -> AnyElement:
    """Set HTML attributes as they are; their values are never parsed. None takes one away. `label` is read aloud."""
    if label is not None:
        values["aria-label"] = label
    if all(element.props.get(name) == value for name, value in values.items()):
        return element
    for name, value in values.items():
        if value is None:
            element.props.pop(name, None)
        else:
            element.props[name] = value
    element.update()
    return element


def field(caption: str, made: AnyElement, hint: str | None = None) -> AnyElement:
    """A field under its caption, which is also its name for those who cannot see it. With the field, all is hidden."""
    with box("field").bind_visibility_from(made) as whole:
        text(caption, "cap")
        made.move(whole)
        if hint:
            text(hint, "hint")
    made.props("outlined dense options-dense" if isinstance(made, ui.select) else "outlined dense")
    return attributes(made, caption)


def enable(element: Element, on: bool) -> None:
    """Let a button be pressed, or not."""
    attributes(element, disabled=None if on else "disabled")


def segments(caption: str, choices: Mapping[str, str], chosen: str, on_choose: Callable[[str], object]) -> None:
    """A choice of one among few, as buttons side by side."""
    made: dict[str, Element] = {}

    def show(value: str) -> None:
        for each, element in made.items():
            attributes(element, **{"aria-checked": "true" if each == value else "false"})

    def choose(value: str) -> Any:
        show(value)
        return on_choose(value)

    with box("segments", role="radiogroup", label=caption):
        for value, words in choices.items():
            made[value] = button(words, partial(choose, value), kind="", role="radio")
    show(chosen)


def note(content: str, kind: str = "", icon: str = "info") -> Element:
    """A sentence that the reader should see."""
    with box(f"note {kind}", role="alert" if kind == "bad" else "note") as made:
        ui.icon(icon)
        text(content)
    return made


def empty(icon: str, title: str, words: str) -> Element:
    """What stands where there is nothing yet."""
    with box("empty") as made:
        ui.icon(icon)
        text(title, tag="h2")
        text(words)
    return made


def facts(pairs: Sequence[tuple[str, str]]) -> Element:
    """Names and values."""
    with box("facts", "dl") as made:
        for name, value in pairs:
            text(name, tag="dt")
            text(value, tag="dd")
    return made


def chip(content: str, kind: str = "", icon: str | None = None) -> Element:
    """A word with a coloured ground."""
    with box(f"chip {kind}", "span") as made:
        if icon:
            ui.icon(icon)
        text(content, tag="span")
    return made


def more(summary: str) -> Element:
    """Something that is folded away until somebody opens it."""
    made = box("more", "details")
    with made:
        text(summary, tag="summary")
    return made


def reasoning(content: str | None) -> None:
    """What a thinking model wrote before its text, folded away; nothing where there is none."""
    if content and content.strip():
        with more("Reasoning"):
            text(content.strip(), "raw", tabindex="0", role="region", label="Reasoning")


def community(name: str, communities: Sequence[str], tag: str = "h3") -> None:
    """The name of a community, after its coloured number: the number tells it apart where colours do not. Another name
    stands as it is."""
    if name in communities:
        index = list(communities).index(name)
        text(str(index + 1), "tag", "span", title=name, **{"aria-hidden": "true"}).style(hue(index))
    if tag:
        text(name, tag=tag)


def hue(index: int) -> str:
    """The style that gives an element the colour of the community with this index in the pool."""
    return f"--hue: var(--c{index % 12})"


def number(count: int) -> str:
    """12345 as 12 345."""
    return f"{count:,}".replace(",", "\u202f")


def percent(share: float | None) -> str:
    """0.1234 as 12.3 %."""
    return "–" if share is None else f"{100 * share:.1f}\u202f%"


def small(share: float | None) -> str:
    """A probability that may be next to none, as 0.0000012."""
    return "–" if share is None else f"{share:.2g}"


def seconds(spent: float) -> str:
    """Seconds with as many digits as are of use."""
    return f"{spent:.1f}\u202fs" if spent < 100 else f"{spent:.0f}\u202fs"


def meter(share: float, *, even: float | None = None, kind: str = "") -> Element:
    """A bar for a probability with its number on it, and a dotted line where every option would be as likely."""
    with box(f"meter {kind}", role="img", label=percent(share)) as made:
        box("fill").style(f"width: {100 * share:.2f}%")
        if even is not None:
            box("even").style(f"left: {100 * even:.2f}%")
        text(percent(share), "num", "span")
    return made


@contextmanager
def bars(width: int = 120) -> Iterator[None]:
    """Rows of a name and its `meter`; names have `width` pixels at least."""
    with box("dist").style(f"grid-template-columns: minmax({width}px, max-content) minmax(0, 1fr)"):
        yield


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Element:
    """A plain table; columns after the first hold numbers."""
    with box("scroll", tabindex="0") as made, box("plain", "table"):
        with box("", "thead"), box("", "tr"):
            for head in heads:
                text(head, tag="th", scope="col")
        with box("", "tbody"):
            for row in rows:
                with box("", "tr"):
                    for index, value in enumerate(row):
                        text(value, "n" if index else "", "td")
    return made


def plain(value: Any) -> str:
    """A value of a state or a setting in readable form."""
    match value:
        case str():
            return value
        case int() if not isinstance(value, bool):  # a seed stands as it can be typed again
            return str(value)
        case [str(), *_] if all(isinstance(each, str) for each in value):
            return "\n".join(value)
        case [float(), *_] if all(isinstance(each, float) for each in value):
            return " · ".join(percent(each) for each in value)
        case _:
            return fact_text(value)
