"""The registry of modes: each is described once, in the file that has its graph, and found here by everybody else.

An application adds a mode of its own with `register_mode`. A package whose entry point in the group
"modular_pluralism.modes" names a module that does so adds it to the command line, the server and the debugger, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from inspect import Parameter, signature
from itertools import combinations, product
from typing import TYPE_CHECKING, Any, Literal, get_args

from modular_pluralism.checked import checked, find_problem, no_such, shown
from modular_pluralism.errors import ConfigurationError, InputError
from modular_pluralism.types import Scoring, Usage, Voice, Voices

if TYPE_CHECKING:
    from langgraph.graph import StateGraph

    from modular_pluralism.graphs.shape import GraphNode

Need = Literal["required", "optional", "refused"]
"""What a mode says of a part of a question."""


@dataclass(frozen=True)
class Takes:
    """What a mode's questions have beside their text. Where there may be options, there is a scoring by which they are
    read.

    Args:
        attribute: Whether an attribute is "required", "optional" or "refused".
        options: The same of options.
        voice: Whether there is a choice of how communities are heard.
        tools: Whether the base LLM may call tools where it writes the answer.
        choose: Whether a rule of social choice picks the answer, which a question may name.
    """

    attribute: Need = "refused"
    options: Need = "refused"
    voice: bool = False
    tools: bool = False
    choose: bool = False

    @property
    def required(self) -> list[str]:
        """The parts that every question has."""
        return [part for part in ("attribute", "options") if getattr(self, part) == "required"]

    @property
    def scoring(self) -> bool:
        """Whether option probabilities are read."""
        return self.options != "refused"


@dataclass(frozen=True)
class ModeDescription:
    """A mode: how communities collaborate.

    Args:
        name: What people type.
        work: Says in one line how the communities collaborate.
        outcome: Says what comes out.
        tool: Tells an agent's model what the mode is for.
        build: The builder of its graph; it takes `pool` and the keywords `prompts`, `models`, `seed` and `comments`,
            and `scoring` and `voice` where questions have them.
        state: The type of the graph's state.
        takes: What its questions have.
        result: The key of the state that is shown: the text "answer", with "choice" where it is one of the options, or
            the "distribution" over the options. What the package's modes write beside it, such as `usage` and
            `missing`, is shown where it is there.
        writer: The node that writes the text, to be shown as it is written (None: it comes whole).
        structured: Whether the builder takes `answer_schema`, which a text then follows.
    """

    name: str
    work: str
    outcome: str
    tool: str
    build: Callable[..., StateGraph[Any, Any, Any, Any]]
    state: type
    takes: Takes = Takes()
    result: Literal["answer", "distribution"] = "answer"
    writer: str | None = None
    structured: bool = False

    @property
    def title(self) -> str:
        """The name, as it stands above a text."""
        return self.name.capitalize()

    @property
    def results(self) -> list[str]:
        """The keys of the state that a run writes."""
        from modular_pluralism.graphs.shape import example_pool, written_keys

        return written_keys(self.build(example_pool(("community",))))

    def graph(
        self, pool: Any = "perspective", *, scoring: Scoring = "rotate", voice: Voices = "comment", **more: Any
    ) -> StateGraph[Any, Any, Any, Any]:
        """The graph, not compiled, with those of the settings that the mode takes; `more` are the builder's others.

        Raises:
            InputError: there is no such scoring or voice, or the mode has no choice of voices.
        """
        return self.build(pool, **self.settings(scoring, voice), **more)

    def settings(self, scoring: Scoring = "rotate", voice: Voices = "comment") -> dict[str, Any]:
        """Those of the builder's settings that the mode takes. Errors are those of `graph`."""
        from modular_pluralism.nodes.request import check_scoring, check_voice  # LangChain takes a while to import

        check_scoring(scoring)
        voice = check_voice(voice)
        if voice != "comment" and not self.takes.voice:
            known = takers("voice")
            raise InputError(f"The voice {voice!r} is for {known} mode; leave it out, or choose that mode.")
        scored = {"scoring": scoring} if self.takes.scoring else {}
        return {**scored, **({"voice": voice} if self.takes.voice else {})}

    def check_settings(self, settings: Iterable[str], *, beside: Iterable[str], what: str) -> None:
        """Check the names of further arguments for the builder, which come by way of `what`, `beside` its own. Their
        kinds the builder checks itself.

        Raises:
            InputError: the builder does not take one of them. `into` is none of them, since who makes something of the
                result finds it under no other key.
        """
        taken = signature(self.build).parameters
        if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in taken.values()):
            return
        known = [name for name in taken if name not in {*beside, "into"}]
        for name in settings:
            if name not in known:
                raise InputError(
                    f"{what}: {self.title} mode has no argument {name!r}; beside {what}'s own it takes "
                    f"{', '.join(known) or 'none'}."
                )

    def nodes(
        self,
        communities: tuple[str, ...] = ("community",),
        *,
        scoring: Scoring = "rotate",
        voice: Voices = "comment",
    ) -> list[GraphNode]:
        """The nodes of the mode's graph with these communities, in the order of the work."""
        from modular_pluralism.graphs.shape import nodes_of_builder

        return nodes_of_builder(self.build, communities, **self.settings(scoring, voice))

    def every_setting(self) -> Iterator[dict[str, Any]]:
        """The builder's settings, however options are read and communities heard."""
        voices: tuple[Voices, ...] = every_voices() if self.takes.voice else ("comment",)
        scorings: tuple[Scoring, ...] = get_args(Scoring) if self.takes.scoring else ("rotate",)
        return (self.settings(scoring, voice) for voice, scoring in product(voices, scorings))


def every_voices() -> tuple[Voices, ...]:
    """Every choice of voices, as it is written."""
    known: tuple[Voice, ...] = get_args(Voice)
    return tuple(",".join(chosen) for count in range(1, len(known) + 1) for chosen in combinations(known, count))


_modes: dict[str, ModeDescription] = {}


@checked
def register_mode(mode: ModeDescription) -> ModeDescription:
    """Add a mode: everything that knows modes finds it from then on.

    Args:
        mode: The mode.

    Returns:
        The same, so that a file can describe and add its mode in one statement.

    Raises:
        InputError: There is another mode of that name, or the description is unusable. A mode whose builder is a newer
            version of the same function, as after a notebook's cell was run again, takes the place of the old one.

    Example:
        ```python
        from modular_pluralism import ModeDescription, OvertonState, PromptSet, build_overton, register_mode

        brief = PromptSet.load().with_texts({"merge": "{question} {comments} Name each view in one sentence."})
        register_mode(
            ModeDescription(
                name="brief",
                work="every community comments in parallel → the base LLM names every view in one sentence",
                outcome="one sentence for each view",
                tool="Name the views on a question on which people disagree.",
                build=lambda pool, *, prompts=None, **more: build_overton(pool, prompts=prompts or brief, **more),
                state=OvertonState,
            )
        )
        ```
    """
    # The package's files register theirs while they are imported; Python then does not begin that import anew.
    import_module("modular_pluralism.graphs")
    _check(mode)
    other = _modes.get(mode.name, mode)
    if (other.build.__module__, other.build.__qualname__) != (mode.build.__module__, mode.build.__qualname__):
        raise InputError(
            f"There is a mode {mode.name!r} already, of {other.build.__module__}; give yours another name."
        )
    _modes[mode.name] = mode
    return mode


def _check(mode: ModeDescription) -> None:
    from modular_pluralism.graphs.baselines import BASELINES

    if not isinstance(mode.name, str) or not re.fullmatch("[a-z][a-z0-9_]*", mode.name):
        raise InputError(
            f"A mode is called {shown(mode.name)}; use small letters, digits and underscores, as in 'two_rounds'."
        )
    # The server, Inspect and LangGraph's server call other things so.
    if mode.name in ("base", "pluralism", *BASELINES):
        raise InputError(f"A mode is called {mode.name!r}, as something else is; use another name.")
    if not callable(mode.build) or not hasattr(mode.build, "__qualname__") or not isinstance(mode.takes, Takes):
        raise InputError(f"The mode {mode.name} needs a function as its builder, and a Takes.")
    kinds: dict[str, Any] = {**dict.fromkeys(("work", "outcome", "tool"), str), "state": type, "writer": str | None}
    needs: dict[str, tuple[object, Any]] = {name: (getattr(mode, name), kind) for name, kind in kinds.items()}
    needs |= {f"takes.{part}": (getattr(mode.takes, part), Need) for part in ("attribute", "options")}
    needs |= {"takes.voice": (mode.takes.voice, bool), "structured": (mode.structured, bool)}
    needs |= {"takes.tools": (mode.takes.tools, bool), "takes.choose": (mode.takes.choose, bool)}
    for name, (value, kind) in needs.items():
        if problem := find_problem(value, kind, name):
            raise InputError(f"The mode {mode.name}: {problem}")
    if mode.result not in ("answer", "distribution"):
        raise InputError(f"The mode {mode.name} shows {shown(mode.result)}; its result is 'answer' or 'distribution'.")


def modes() -> Mapping[str, ModeDescription]:
    """Every mode, by name: those of the package first."""
    _load_modes()
    return _modes


@cache
def _load_modes() -> None:
    """Import the files that register modes: it takes a second, which no `--help` should cost."""
    import_module("modular_pluralism.graphs")
    for entry in entry_points(group="modular_pluralism.modes"):
        try:
            entry.load()
        except Exception as error:  # whatever it is, people have to know which package it comes from
            package = entry.dist.name if entry.dist else "an installed package"
            raise ConfigurationError(
                f"The mode {entry.name} of {package} ({entry.value}) cannot be loaded ({type(error).__name__}: "
                f"{error}); mend or uninstall the package."
            ) from error


def takers(part: Literal["attribute", "options", "voice", "tools", "choose"]) -> str:
    """The modes whose questions may have that part, for a sentence."""
    return " or ".join(mode.name for mode in modes().values() if getattr(mode.takes, part) not in ("refused", False))


def find_mode(name: object) -> ModeDescription:
    """Find a mode.

    Args:
        name: What the mode is called.

    Returns:
        Its description.

    Raises:
        InputError: There is no such mode.

    Example:
        ```python
        from modular_pluralism import find_mode

        mode = find_mode("steerable")
        print(mode.work, mode.takes.required)
        graph = mode.graph("culture", scoring="label").compile()
        ```
    """
    known = modes()
    if isinstance(name, str) and name in known:
        return known[name]
    raise InputError(no_such("mode", name, known))


def written_texts(state: Mapping[str, Any]) -> list[Usage]:
    """What every text cost that the models of a run have written: comments, and the answer or the drafts of it."""
    comments, candidates = (state.get(key) or {} for key in ("comments", "candidates"))
    answer = [state["usage"]] if state.get("usage") and not candidates else []
    return [*comments.values(), *candidates.values(), *answer]


def shown_answer(state: Mapping[str, Any]) -> str:
    """A run's answer for people to read: its text, and below it the calls of tools, one a line."""
    calls = [call["function"] for call in state.get("tool_calls") or ()]
    lines = [str(state.get("answer") or ""), *(f"{call['name']}({call['arguments']})" for call in calls)]
    return "\n".join(line for line in lines if line)
