"""What lies behind a box of the graph: the exact prompts, the raw output, the settings, and the probabilities."""

from __future__ import annotations

import math
from typing import Any

from nicegui import ui
from nicegui.element import Element

from modular_pluralism.debugger.page import elements as el
from modular_pluralism.debugger.page.progress import NodeProgress
from modular_pluralism.debugger.page.tab import Tab
from modular_pluralism.debugger.page.words import STATES
from modular_pluralism.debugger.records import CallRecord

_KINDS = {
    "chat": "Text",
    "label_probabilities": "Probabilities of the options",
    "text_logprobs": "Likelihood of given texts",
}


def open_sheet(tab: Tab, node: str) -> None:
    """Open the sheet of a node, at the side; Escape closes it."""
    if tab.progress is None:
        return
    shown = tab.progress[node]
    with ui.dialog().props("position=right full-height") as dialog, el.box("sheet"):
        el.attributes(dialog, f"Details of {node}")
        with el.box("top"):
            with el.box("line between"):
                with el.box("line"):
                    el.text(tab.progress.title(node), tag="h2")
                    el.chip(*STATES[shown.state])
                el.button("", dialog.close, icon="close", kind="btn quiet", label="Close")
            el.text(" · ".join(shown.costs), "muted small")
            choosing = el.box()
        body = el.box("body")
        _fill(shown, node, tab.progress.final, choosing, body)
    dialog.on("hide", dialog.delete)
    dialog.open()


def _fill(shown: NodeProgress, node: str, state: dict[str, Any], choosing: Element, body: Element) -> None:
    with body:
        if shown.error:
            el.note(shown.error, "bad", "error")
        if shown.source:
            el.note(
                f"Nothing that this box depends on has changed since the run {shown.source}, so its output was kept."
            )
        if not shown.calls:
            _without_call(shown, node, state)
            return
        rest = el.box("stack")
    names = {str(index): f"{index + 1}. {_KINDS[call.kind]}" for index, call in enumerate(shown.calls)}

    def show(index: str) -> None:
        with el.refilled(rest):
            _call(shown.calls[int(index)])

    if len(names) > 1:
        with choosing:
            el.segments("Which call", names, "0", show)
    show("0")


def _without_call(shown: NodeProgress, node: str, state: dict[str, Any]) -> None:
    if node == "check":
        pairs = [("Question", str(state.get("question", ""))), ("Attribute", str(state.get("attribute") or ""))]
        pairs += [("Options", "\n".join(state.get("options") or [])), ("Seed", str(state.get("seed") or 0))]
        el.facts([(name, value) for name, value in pairs if value])
    elif node == "aggregate":
        el.text("The communities' distributions are averaged with their priors; no model is asked.", "muted")
        el.facts([(f"Weight of {name}", el.percent(weight)) for name, weight in (state.get("weights") or {}).items()])
    elif shown.state in ("started", "speaking", "scoring"):
        el.note("The model is at work; its prompt and output stand here as soon as it is done.", "", "hourglass_empty")
        el.text(shown.text, "raw")
    elif shown.text:
        el.note("No model was asked here in this run.")
        el.text(shown.text, "raw")
    else:
        el.text("Nothing has been asked here yet.", "muted")


def _call(record: CallRecord) -> None:
    """One model call, in parts."""
    parts = {"Prompt": _prompt}
    if record.kind == "chat":
        parts["Output"] = _output
    parts["Settings"] = _settings
    if record.raw or record.logprobs or record.token_logprobs:
        parts["Probabilities"] = _numbers

    def show(part: str) -> None:
        with el.refilled(shown):
            parts[part](record)

    if record.rebuilt:
        el.note(
            "Nobody watched this run. The prompt was made again from what is kept, and the rest is not known.", "warn"
        )
    el.segments("What to show", {part: part for part in parts}, "Prompt", show)
    shown = el.box("stack")
    show("Prompt")


def _prompt(record: CallRecord) -> None:
    if record.note and not record.rebuilt:
        el.note(record.note)
    count = len(record.prompts)
    for index, prompt in enumerate(record.prompts, start=1):
        if count > 1:
            el.text(f"Prompt {index} of {count}: each has the options in another order", tag="h3")
        if prompt["text"] is not None:
            el.text("As the model reads it, chat template included", "muted small")
            _raw(prompt["text"], "Prompt as the model reads it")
            continue
        for message in prompt["messages"]:
            el.text(message["role"], tag="h3")
            _raw(message["content"], f"Message of the {message['role']}")


def _output(record: CallRecord) -> None:
    if record.reply is None:
        el.text("Nothing was kept of the output.", "muted")
    else:
        el.text("As the model wrote it", "muted small")
        _raw(record.reply, "Output as the model wrote it")
    el.reasoning(record.reasoning)
    if record.finish_reason == "length":
        el.note("The output was cut off by its token limit.", "warn", "content_cut")
    for error in record.errors:
        el.note(error, "bad", "replay")


def _settings(record: CallRecord) -> None:
    known: list[tuple[str, object]] = [("Model", record.model), *record.settings.items()]
    known += [
        ("Tokens read", _counted(record.prompt_tokens)),
        ("of these from the cache", _counted(record.cached_tokens)),
        ("Tokens said", _counted(record.completion_tokens)),
        ("Ended by", record.finish_reason),
        ("Seconds", None if record.seconds is None else el.seconds(record.seconds)),
        ("Tries", record.attempts or None),
    ]
    el.facts([(name.replace("_", " "), el.plain(value)) for name, value in known if value is not None])


def _numbers(record: CallRecord) -> None:
    if record.labels and record.raw:
        for index, row in enumerate(record.raw, start=1):
            if len(record.raw) > 1:
                el.text(f"Prompt {index}", tag="h3")
            with el.bars(40):
                for label, share in zip(record.labels, row, strict=False):
                    el.text(label, "who")
                    el.meter(share)
            el.text(
                f"Together {el.percent(sum(row))}: so likely is it that the model answers with one of these at all.",
                "muted small",
            )
    if record.texts and record.logprobs:
        rows = []
        for each, values in zip(record.texts, record.logprobs, strict=False):
            known = [value for value in values if value is not None]
            whole = sum(known) if len(known) == len(values) else -math.inf
            rows.append([each, el.number(len(values)), f"{whole:.3f}", f"{whole / max(1, len(values)):.3f}"])
        el.table(["Text", "Tokens", "Log-probability", "per token"], rows)
    if record.token_logprobs:
        el.text(
            "The darker a token, the likelier it was. Hold the pointer over one for its probability.", "muted small"
        )
        with el.box("tokens"):
            for token in record.token_logprobs:
                likely = math.exp(float(token["logprob"]))
                shown = el.text(str(token["token"]), tag="span", title=el.percent(likely))
                shown.style(f"--p: {likely:.3f}")


def _raw(content: str, label: str) -> None:
    el.text(content, "raw", "pre", tabindex="0", role="region", label=label)
    with el.box("line"):
        el.button("Copy", lambda: ui.clipboard.write(content), icon="content_copy", kind="btn small quiet")


def _counted(value: int | None) -> str | None:
    return None if value is None else el.number(value)
