"""A run as one file that needs nothing else: JSON for programs, HTML for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from modular_pluralism.debugger.attribution import Attribution, attribute_answer
from modular_pluralism.debugger.build import OwnModels
from modular_pluralism.debugger.calls import read_calls
from modular_pluralism.debugger.distributions import SELECTION_NOTE, describe_distributions
from modular_pluralism.debugger.history import read_run
from modular_pluralism.debugger.snippet import run_as_python
from modular_pluralism.evaluation.report.pages import allowed, page_templates
from modular_pluralism.models.redaction import without_keys
from modular_pluralism.modes import find_mode, shown_answer
from modular_pluralism.nodes.citations import in_words, numbered
from modular_pluralism.runs.run_store import RunStore

FORMAT = "modular-pluralism/run"
VERSION = 1


async def run_as_json(store: RunStore, run: str, *, models: OwnModels = None) -> str:
    """The run as JSON: `setup`, `state`, `steps`, `calls`, `reused` and `python`; `format` and `version` tell
    what it is.

    It holds no key; a number that JSON does not have is null.

    Raises:
        InputError: there is no such run.
        StoreError: it cannot be read.
    """
    kept, calls = await read_run(store, run), await read_calls(store, run, models=models)
    told = {
        "format": FORMAT,
        "version": VERSION,
        "run": {**asdict(kept.listed), "question": str(kept.setup.asked["question"])},
        "setup": kept.setup.model_dump(mode="json"),
        "state": kept.state,
        "nodes": [{key: getattr(node, key) for key in ("id", "role", "community", "after")} for node in kept.nodes],
        "reused": kept.reused,
        "steps": [asdict(step) for step in kept.steps],
        "calls": [asdict(call) for call in calls],
        "python": run_as_python(run, kept.setup),
    }
    finite = json.loads(json.dumps(told), parse_constant=lambda _: None)
    return _unicode(without_keys(json.dumps(finite, ensure_ascii=False, indent=2))) + "\n"


async def run_as_html(store: RunStore, run: str, *, models: OwnModels = None) -> str:
    """The run as a page that loads nothing and runs nothing; every text in it is shown as text.

    Raises:
        ModelLoadError: the sentence splitter is not installed. The rest is as for `run_as_json`.
    """
    kept, calls = await read_run(store, run), await read_calls(store, run, models=models)
    state, setup = kept.state, kept.setup
    attribution: Attribution | None = None
    # A steered answer is meant to leave comments out.
    if state.get("answer") and state.get("comments") and not state.get("selected"):
        attribution = await attribute_answer(state)
    pooled = state.get("distribution") is not None and state.get("weights")
    style = files("modular_pluralism.debugger").joinpath("export.css").read_text(encoding="utf-8")
    environment = page_templates("modular_pluralism.debugger")
    environment.filters |= {"share": _share, "small": _small, "time": _time, "settings": _settings}
    environment.filters |= {"told": in_words, "numbered": numbered}
    page = environment.get_template("export.html.jinja").render(
        run=kept,
        calls=calls,
        python=run_as_python(run, setup),
        state=state,
        setup=setup,
        settings=find_mode(setup.mode).settings(setup.scoring, setup.voice),
        attribution=attribution,
        answer=shown_answer(state),
        distributions=describe_distributions(state) if pooled else None,
        selection_note=SELECTION_NOTE,
        style=Markup(style),
        style_hash=allowed(style),
    )
    return _unicode(without_keys(page.lstrip()))


def _unicode(text: str) -> str:
    """The text with a question mark for half a character, which no file can hold."""
    return text.encode("utf-8", "replace").decode()


def _small(value: float | None) -> str:
    """A probability that may be next to none."""
    return "–" if value is None else f"{value:.2g}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}".replace("%", " %")


def _settings(settings: Mapping[str, Any]) -> str:
    """In the spelling in which they can be used again."""
    return "; ".join(f"{key} = {value}" for key, value in settings.items() if value is not None)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
