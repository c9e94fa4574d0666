"""The prompts that a run uses: which they are, where they are used, and what they say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from modular_pluralism.modes import find_mode
from modular_pluralism.nodes.step import QuestionParts
from modular_pluralism.pool import Pool
from modular_pluralism.prompts import Prompt, PromptSet
from modular_pluralism.runs.setup import Setup


@dataclass(frozen=True)
class UsedPrompt:
    """`key` is unique on the page; `use` says in a word or two where it is used. A persona has a `community`, and a
    `prompt` with its text only."""

    key: str
    title: str
    use: str
    prompt: Prompt
    community: str | None = None


def prompts_of(setup: Setup, pool: Pool, prompts: PromptSet) -> list[UsedPrompt]:
    """Every prompt of a run, in the order in which the graph comes to use it."""
    found = [UsedPrompt(name, name, use, prompts[name]) for name, use in dict(_names(setup, prompts)).items()]
    for community, config in pool.communities.items():
        said = pool.persona_text(community, prompts)
        if said is not None and config.persona is not None:
            stem = config.persona.removesuffix(".md")
            persona = Prompt(stem, "persona", (), 1, said, config.persona)
            found.append(UsedPrompt(f"persona:{community}", community, config.persona, persona, community))
    return found


def _names(setup: Setup, prompts: PromptSet) -> Iterator[tuple[str, str]]:
    asked = QuestionParts(bool(setup.asked.get("options")), bool(setup.asked.get("attribute")))
    for node in find_mode(setup.mode).nodes(scoring=setup.scoring, voice=setup.voice):
        for name in node.prompts_on(asked):
            prompt = prompts[name]
            # A fragment stands inside other prompts, once for each of what its last variable is.
            inside = f"one {prompt.variables[-1]}" if prompt.mode == "fragment" else None
            yield name, inside or _USES.get(node.role, node.role)


_USES = {"comment": "communities", "respond": "answer", "score": "scoring", "vote": "voting"}
"""What the page calls the work of a node, where that is not the node's role."""
