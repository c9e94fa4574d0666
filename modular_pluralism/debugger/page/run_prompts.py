"""The prompts that a run uses: which they are, where they are used, and what they say."""

from __future__ import annotations

from dataclasses import dataclass

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
    found = [UsedPrompt(name, name, use, prompts[name]) for name, use in _names(setup)]
    for community, config in pool.communities.items():
        said = pool.persona_text(community, prompts)
        if said is not None and config.persona is not None:
            stem = config.persona.removesuffix(".md")
            persona = Prompt(stem, "persona", (), 1, said, config.persona)
            found.append(UsedPrompt(f"persona:{community}", community, config.persona, persona, community))
    return found


def _names(setup: Setup) -> list[tuple[str, str]]:
    options = bool(setup.asked.get("options"))
    comment = [("comment_options", "communities"), ("plain_option", "one option")]
    names = comment if options else [("comment", "communities")]
    lines = ("numbered_comment", "one comment")
    match setup.mode:
        case "overton":
            return [*names, ("merge", "merge"), lines]
        case "steerable":
            lettered = options and setup.scoring != "text"
            last = [("respond_options", "answer"), ("option", "one option")] if lettered else [("respond", "answer")]
            return [*names, ("select", "select"), lines, *last]
        case "distributional":
            uses = {"comment": ("score",), "vote": ("vote",), "both": ("score", "vote")}[setup.voice]
            said = [] if setup.voice == "vote" else names
            end = ("_group" if setup.asked.get("attribute") else "") + ("_text" if setup.scoring == "text" else "")
            read = [(f"{use}{end}", {"score": "scoring", "vote": "voting"}[use]) for use in uses]
            return [*said, *read, *([] if setup.scoring == "text" else [("option", "one option")])]
