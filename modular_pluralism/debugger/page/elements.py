"""Small pieces that every view is made of. Text is always text: nothing here takes HTML or Markdown."""

from __future__ import annotations

import unicodedata
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from nicegui import ui
from nicegui.element import Element
from nicegui.elements.mixins.text_element import TextElement

AnyElement = TypeVar("AnyElement", bound=Element)
Click = Callable[[], Awaitable[None] | None]


def box(classes: str = "", tag: str = "div") -> Element:
    """A container; `with box(...):` fills it."""
    return ui.element(tag).classes(classes)


def text(content: str, classes: str = "", tag: str = "div") -> TextElement:
    """Some text, shown as it stands."""
    return TextElement(tag=tag, text=visible(content)).classes(classes)


def visible(content: str) -> str:
    """The text without what no browser shows: control characters, and halves of characters, which cannot be sent."""
    return "".join(char for char in content if char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cs"))


def button(
    content: str, on_click: Click | None, *, icon: str | None = None, kind: str = "btn", label: str | None = None
) -> Element:
    """A native button, so that the keyboard works on it as everywhere; `label` is what is read aloud instead."""
    made = attributes(ui.element("button").classes(kind), type="button", **{"aria-label": label} if label else {})
    with made:
        if icon:
            ui.icon(icon)
        if content:
            text(content, tag="span")
    if on_click is not None:
        made.on("click", lambda _: on_click())
    return made


def attributes(element: AnyElement, /, **values: Any) -> AnyElement:
    """Set HTML attributes as they are; their values are never parsed. None takes one away."""
    for name, value in values.items():
        if value is None:
            element.props.pop(name, None)
        else:
            element.props[name] = value
    element.update()
    return element


def field(caption: str, made: Element, hint: str | None = None) -> Element:
    """A field under its caption, which is also its name for those who cannot see it."""
    with box("field") as whole:
        text(caption, "cap")
        made.move(whole)
        if hint:
            text(hint, "hint")
    attributes(made, **{"aria-label": caption})
    return whole


def segments(
    caption: str, choices: Mapping[str, str], chosen: str, on_choose: Callable[[str], object]
) -> Callable[[str], None]:
    """A choice of one among few, as buttons side by side. Returns what shows another choice."""
    made: dict[str, Element] = {}

    def show(value: str) -> None:
        for each, element in made.items():
            attributes(element, **{"aria-checked": "true" if each == value else "false"})

    def choose(value: str) -> Any:
        show(value)
        return on_choose(value)

    with attributes(box("segments"), role="radiogroup", **{"aria-label": caption}):
        for value, words in choices.items():
            made[value] = attributes(button(words, lambda value=value: choose(value), kind=""), role="radio")  # type: ignore[misc]
    show(chosen)
    return show


def note(content: str, kind: str = "", icon: str = "info") -> Element:
    """A sentence that the reader should see."""
    with attributes(box(f"note {kind}"), role="alert" if kind == "bad" else "note") as made:
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


def tag_of(place: int, name: str) -> Element:
    """The coloured number of a community: the number tells it apart where colours do not."""
    made = text(str(place + 1), "tag", "span").style(hue(place))
    return attributes(made, title=name, **{"aria-hidden": "true"})


def hue(place: int) -> str:
    """The style that gives an element the colour of the community at that place in the pool."""
    return f"--hue: var(--c{place % 12})"


def number(count: int) -> str:
    """12345 as 12 345."""
    return f"{count:,}".replace(",", "\u202f")


def percent(share: float | None) -> str:
    """0.1234 as 12.3 %."""
    return "–" if share is None else f"{100 * share:.1f}\u202f%"


def seconds(spent: float) -> str:
    """Seconds with as many digits as are of use."""
    return f"{spent:.1f}\u202fs" if spent < 100 else f"{spent:.0f}\u202fs"
