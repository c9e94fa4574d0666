"""The prompts that a run uses, as they are edited: which they are, whether a text can be used, and keeping it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from modular_pluralism.errors import PromptError
from modular_pluralism.home import expanded
from modular_pluralism.modes import find_mode
from modular_pluralism.nodes.evidence import told_prompts
from modular_pluralism.nodes.step import QuestionParts
from modular_pluralism.pool import Pool
from modular_pluralism.prompts import Prompt, PromptSet
from modular_pluralism.prompts.loader import variables_in
from modular_pluralism.prompts.prompt_set import replacement
from modular_pluralism.replaced_file import replaced_file
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
    known = told_prompts(pool, prompts)
    found = [
        UsedPrompt(name, name, use, prompts[name])
        for name, use in dict(_names(setup, prompts)).items()
        if name in known
    ]
    for community, config in pool.communities.items():
        said = pool.persona_text(community, prompts)
        if said is not None:
            source = str(pool.persona_source(community))
            stem = community if config.persona_file is None else source.removesuffix(".md")
            persona = Prompt(stem, "persona", (), 1, said, source)
            found.append(UsedPrompt(f"persona:{community}", community, source, persona, community))
    return found


def _names(setup: Setup, prompts: PromptSet) -> Iterator[tuple[str, str]]:
    asked = QuestionParts(bool(setup.asked.get("options")), bool(setup.asked.get("attribute")))
    for node in find_mode(setup.mode).nodes(scoring=setup.scoring, voice=setup.voice):
        for name in (name for name in node.prompts_on(asked) if name in prompts):  # a mode may bring its own
            prompt = prompts[name]
            yield name, _inside(prompt) or _USES.get(node.role, node.role)


def _inside(prompt: Prompt) -> str | None:
    """What of another prompt a fragment is: it stands there once for each of what its last variable is, or once for all
    of these."""
    if prompt.mode != "fragment":
        return None
    what = prompt.variables[-1]
    return f"the {what}" if what.endswith("s") else f"one {what}"


_USES = {"comment": "communities", "respond": "answer", "score": "scoring", "vote": "voting"}
"""What the page calls the work of a node, where that is not the node's role."""


def problems_of(original: Prompt, text: str) -> list[str]:
    """What keeps a text from taking the place of a prompt, a sentence for each reason; empty where nothing does."""
    if original.mode != "persona":
        used = variables_in(text)
        lacking = [
            f"{{{name}}} is missing: put it where its text belongs." for name in original.variables if name not in used
        ]
        foreign = [
            f"{{{name}}} is not known here; remove it, or write {{{{{name}}}}} for literal braces."
            for name in used
            if name not in original.variables
        ]
        if lacking or foreign:
            return lacking + foreign
    try:
        replace(original, text=text, path="This text", first_line=1).sections  # noqa: B018
    except PromptError as error:
        return [_sentence(error)]
    return []


def save_prompt(folder: Path, original: Prompt, text: str) -> Path:
    """Write the text as the next version of its prompt into a folder that `--prompts` takes; returns the file.

    What the folder had of it before stays beside it, as a hidden file with its version.

    Raises:
        PromptError: the text is unusable, the folder is that of the built-in prompts, or it cannot be written.
    """
    problems = problems_of(original, text)
    if problems:
        raise PromptError(problems[0])
    if original.mode == "persona" and not original.path.endswith(".md"):
        raise PromptError(
            f"the persona of {original.name} stands in no file; write it into the pool's file, or run again with the "
            "text here"
        )
    if original.mode == "persona" and f"{original.name}.md" not in PromptSet.load().personas:
        raise PromptError(
            f"{original.name}.md is a file beside the pool and no built-in persona; change that file, or run again "
            "with the text here"
        )
    own = _checked(folder)
    path = own / "personas" / f"{original.name}.md" if original.mode == "persona" else own / f"{original.name}.txt"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        version = _set_aside(path, original)
        saved = replace(original, text=text.rstrip("\n") + "\n", path=str(path), first_line=1, version=version)
        with replaced_file(path) as file:
            file.write(saved.file_text())
    except OSError as error:
        raise PromptError(f"{path} cannot be written ({error.strerror}); choose another folder") from error
    return path


def _checked(folder: Path) -> Path:
    own = expanded(folder, PromptError).absolute()
    built_in = Path(PromptSet.load()["merge"].path).resolve().parent
    if own.resolve() == built_in or built_in in own.resolve().parents:
        raise PromptError("The built-in prompts stay as they are; choose a folder of your own")
    return own


def _set_aside(path: Path, original: Prompt) -> int:
    """Keep what stands at `path`, and say which version comes next."""
    if not path.exists():
        return original.version + 1
    try:
        version = replacement(path, original).version
    except PromptError:  # somebody has left it half-written; it is kept all the same
        version = original.version
    shutil.copy2(path, path.with_name(f".{path.stem}.{version}{path.suffix}"))
    return version + 1


def _sentence(error: PromptError) -> str:
    words = str(error).replace("This text: ", "")
    return words[:1].upper() + words[1:] + ("" if words.endswith(".") else ".")
