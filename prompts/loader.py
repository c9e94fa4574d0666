"""One prompt, and the format of the file that it stands in.

A prompt file is a header between two lines `---`, then the text of the prompt:

    ---
    name: merge
    mode: overton
    variables: question, comments
    version: 1
    ---
    [system]
    ...
    [user]
    ... {question} ... {comments} ...

`name` is the file's name without its ending, `mode` says where the prompt is used (one of `MODES`), and `variables`
lists exactly the placeholders that the text uses. A line that is exactly `[system]` or `[user]` starts a section, which
becomes one chat message; a text without sections is one user message. Literal braces are doubled: `{{` and `}}`.

A persona (`personas/NAME.md`) is the system prompt of a community LM. It has the same header with `mode: persona` and
no variables, and its text is never parsed: it reaches the model as it stands.

Values are put into a text that has already been taken apart, so that braces or role lines in what a user or a model
wrote can neither add a message nor reach a variable.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Literal

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from modular_pluralism.checked import check_fields, hint
from modular_pluralism.errors import PromptError

Role = Literal["system", "user"]
"""Whose chat message a section of a prompt becomes."""
Segment = tuple[str, str | None]
"""A stretch of literal text, and the variable that follows it (None at the end)."""

MODES = ("any", "overton", "steerable", "distributional", "assembly", "baseline", "judge", "fragment", "persona")
"""What a header's `mode` may say: the mode that uses the prompt; `any` for several of them; `baseline` for what the
modes are compared with; `judge` for what an evaluation asks about answers, and a search about prompts; `fragment` for a
text that stands inside other prompts; `persona` for a system prompt."""

_ONE_WORD = re.compile(r"[!-~]+")
"""What no persona consists of. In scripts without spaces one may."""

HEADER_KEYS = ("name", "mode", "variables", "version")

_FENCE = "---"
_VARIABLE = re.compile(r"[a-z][a-z0-9_]*")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")
_TOKEN = re.compile(r"\{\{|\}\}|\{[^{}]*\}|[{}]")
_ROLE_LIKE = re.compile(r"\[\s*([A-Za-z]+)\s*\]:?")
_FOREIGN_ROLES = ("system", "user", "assistant", "human", "ai")


@dataclass(frozen=True)
class Section:
    """One chat message of a prompt, taken apart into literal text and variables."""

    role: Role
    segments: tuple[Segment, ...]

    @property
    def variables(self) -> frozenset[str]:
        """Names of the variables that stand in this section."""
        return frozenset(variable for _, variable in self.segments if variable is not None)

    def fill(self, values: Mapping[str, str]) -> str:
        """The section's text with every variable replaced by its value."""
        return "".join(literal + ("" if name is None else values[name]) for literal, name in self.segments)

    def message(self, values: Mapping[str, str]) -> BaseMessage:
        """The section as a chat message."""
        text = self.fill(values)
        return SystemMessage(text) if self.role == "system" else HumanMessage(text)


@dataclass(frozen=True)
class Prompt:
    """One prompt, checked when it is made: its text uses exactly the variables that it declares.

    Args:
        name: What the graphs call it.
        mode: What uses it; see the head of this file.
        variables: What is filled in.
        version: Counts the changes of the text.
        text: What follows the header.
        path: Where it was read.
        first_line: The line of that file on which `text` starts, so that messages can name the line.

    Raises:
        PromptError: The text is not a usable prompt.

    Example:
        ```python
        from modular_pluralism import PromptSet

        merge = PromptSet.load()["merge"]
        print(merge.variables, merge.file_text())
        ```
    """

    name: str
    mode: str
    variables: tuple[str, ...]
    version: int
    text: str
    path: str
    first_line: int = 1

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.text.strip():
            raise PromptError(f"{self.path} has no text after its header; write the prompt there")
        if self.mode == "persona" and self.variables:
            raise PromptError(
                f"{self.path}: variables must be empty in a persona, which is never filled in; remove "
                f"{listed(self.variables)}"
            )
        if self.mode == "fragment" and not self._is_single:
            raise PromptError(
                f"{self.path}: a fragment stands inside other prompts and cannot have [system] and [user] sections; "
                "remove those lines"
            )
        self._check_variables()

    @cached_property
    def sections(self) -> tuple[Section, ...]:
        """The chat messages that this prompt becomes, in order."""
        if self.mode == "persona":
            return (Section("system", ((self.text.strip(), None),)),)
        return _sections(self.text, self.path, self.first_line)

    def render(self, /, **values: str | int) -> list[BaseMessage]:
        """The prompt as chat messages, one a section.

        Args:
            values: A text or a number for each of the prompt's variables.

        Returns:
            The messages, with the values put in.

        Raises:
            PromptError: A variable is missing, is not one of this prompt's, or is neither text nor a number.

        Example:
            ```python
            from modular_pluralism import PromptSet

            for message in PromptSet.load()["comment"].render(question="Should wages be public?"):
                message.pretty_print()
            ```
        """
        checked = self._checked(values)
        return [section.message(checked) for section in self.sections]

    def render_text(self, /, **values: str | int) -> str:
        """The prompt as plain text, for a prompt without role sections. Raises PromptError as `render` does."""
        if not self._is_single:
            raise PromptError(
                f"{self.path} has [system] and [user] sections but is used as plain text; remove those lines"
            )
        return self.sections[0].fill(self._checked(values))

    def with_text(self, text: str, path: str) -> Prompt:
        """The prompt with another text, which `path` says the origin of. Raises PromptError where it is unusable."""
        return replace(self, text=text, path=path, first_line=1)

    def file_text(self) -> str:
        """The prompt as its file has it: header and text."""
        header = {
            "name": self.name,
            "mode": self.mode,
            "variables": ", ".join(self.variables),
            "version": str(self.version),
        }
        lines = [f"{key}: {value}".rstrip() for key, value in header.items()]
        return "\n".join([_FENCE, *lines, _FENCE, self.text])

    @property
    def _is_single(self) -> bool:
        return len(self.sections) == 1

    def _check_variables(self) -> None:
        used = frozenset[str]().union(*(section.variables for section in self.sections))
        for name in sorted(used.difference(self.variables)):
            raise PromptError(
                f"{self.path} uses {{{name}}}, which its header does not list; add it to variables, or write "
                f"'{{{{{name}}}}}' for literal braces{hint(name, self.variables)}"
            )
        for name in self.variables:
            if name not in used:
                raise PromptError(
                    f"{self.path} lists {name} under variables but its text does not use it; put {{{name}}} into the "
                    "text or remove it from the header"
                )

    def _checked(self, values: Mapping[str, str | int]) -> dict[str, str]:
        missing = [name for name in self.variables if name not in values]
        if missing:
            raise PromptError(
                f"prompt {self.name} ({self.path}) lacks a value for {listed(missing)}; pass it to render"
            )
        for name, value in values.items():
            if name not in self.variables:
                takes = f"takes {listed(self.variables)}" if self.variables else "takes no variables"
                raise PromptError(f"prompt {self.name} ({self.path}) has no variable {name}; it {takes}")
            if not isinstance(value, str | int):
                raise PromptError(
                    f"prompt {self.name} ({self.path}) got {type(value).__name__} for {name}; pass text or a number"
                )
        return {name: str(value) for name, value in values.items()}


def text_below_header(path: Path) -> str:
    """What a prompt file says below its header, not checked. Raises PromptError where it has no header."""
    return _split(_read(path), str(path))[1]


def variables_in(text: str) -> list[str]:
    """The variables that a text uses, each once, in their order."""
    names = (match[0][1:-1] for match in _TOKEN.finditer(text))
    return list(dict.fromkeys(name for name in names if _VARIABLE.fullmatch(name)))


def plain_persona(path: Path) -> str:
    """A persona beside a user's pool file, where the header may be left out."""
    text = _read(path)
    if text.split("\n", 1)[0].rstrip() == _FENCE:
        prompt = _parse(text, str(path), path.stem)
        if prompt.mode != "persona":
            raise PromptError(f"{path}: mode is {prompt.mode} but the file is used as a persona; write 'mode: persona'")
        return prompt.text.strip()
    if not text.strip():
        raise PromptError(f"{path} is empty; write the persona's system prompt into it")
    return text.strip()


def inline_persona(text: str) -> str:
    """A persona that is written into a pool. Raises PromptError where it looks like a file's name that is mistyped."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").strip()
    if not text or _ONE_WORD.fullmatch(text):
        raise PromptError(
            f"a persona is a plain file name such as 'news_left.md', or a text of several words, not {short(text)}; "
            "put the file beside the pool file and give its name without a folder, or write the persona itself"
        )
    return text


def read_prompt(file: Path | Traversable) -> Prompt:
    """The prompt in a file. Raises PromptError where it cannot be read, or is no usable prompt."""
    return _parse(_read(file), str(file), file.name.rpartition(".")[0])


def _read(file: Path | Traversable) -> str:
    """The file's text, with the byte order mark and the line endings of Windows editors taken away."""
    try:
        return file.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise PromptError(f"{file} is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except OSError as error:
        raise PromptError(f"{file} cannot be read ({error.strerror}); check the path and its permissions") from error


# The format of one file


def _parse(text: str, path: str, stem: str) -> Prompt:
    """The prompt in a file's text; `stem` is the file's name without its ending."""
    header, body, first_line = _split(text, path)
    for key in HEADER_KEYS:
        if key not in header:
            raise PromptError(f"{path}: the header has no {key}; add a line '{key}: ...' between the two lines '---'")
    if header["name"] != stem:
        raise PromptError(f"{path}: name is {short(header['name'])}; write 'name: {stem}', as the file is called")
    if header["mode"] not in MODES:
        meant = hint(header["mode"], MODES)
        raise PromptError(f"{path}: mode is {short(header['mode'])}; use one of {listed(MODES)}{meant}")
    if not _VERSION.fullmatch(header["version"]):
        raise PromptError(f"{path}: version is {short(header['version'])}; write a whole number such as 1")
    variables = _variables(header["variables"], path)
    return Prompt(stem, header["mode"], variables, int(header["version"]), body, path, first_line)


def _split(text: str, path: str) -> tuple[dict[str, str], str, int]:
    """Header as a mapping, the text after it, and the number of the line on which that starts."""
    lines = text.split("\n")
    if lines[0].rstrip() != _FENCE:
        raise PromptError(f"{path}, line 1: a prompt starts with a header; put '---' on the first line")
    header: dict[str, str] = {}
    for number, line in enumerate(lines[1:], start=2):
        if line.rstrip() == _FENCE:
            return header, "\n".join(lines[number:]), number + 1
        if line.strip():
            key, value = _header_line(line, number, path)
            if key in header:
                raise PromptError(f"{path}, line {number}: {key} appears twice in the header; remove one of them")
            header[key] = value
    raise PromptError(f"{path}: the header has no end; put '---' on a line of its own after it")


def _header_line(line: str, number: int, path: str) -> tuple[str, str]:
    key, colon, value = (part.strip() for part in line.partition(":"))
    if not colon:
        raise PromptError(f"{path}, line {number}: {short(line)} is not 'key: value'; write it so, or end the header")
    if key not in HEADER_KEYS:
        raise PromptError(
            f"{path}, line {number}: unknown header key {short(key)}; use {listed(HEADER_KEYS)}{hint(key, HEADER_KEYS)}"
        )
    return key, value


def _variables(listed: str, path: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in listed.split(",")) if listed else ()
    for name in names:
        if not _VARIABLE.fullmatch(name):
            raise PromptError(
                f"{path}: variables has {short(name)}; separate names such as question or comment_2 by commas"
            )
        if names.count(name) > 1:
            raise PromptError(f"{path}: variables lists {name} twice; remove one of them")
    return names


def _sections(text: str, path: str, first_line: int) -> tuple[Section, ...]:
    sections: list[tuple[Role, int, list[str]]] = []
    before: list[str] = []
    for number, line in enumerate(text.split("\n"), start=first_line):
        if line == "[system]" or line == "[user]":
            role: Role = "system" if line == "[system]" else "user"
            _check_order(role, [earlier for earlier, _, _ in sections], f"{path}, line {number}")
            sections.append((role, number + 1, []))
        else:
            _check_no_role(line, f"{path}, line {number}")
            (sections[-1][2] if sections else before).append(line)
    if not sections:
        return (Section("user", _segments(text, path, first_line)),)
    _check_complete(sections, before, path, first_line)
    return tuple(Section(role, _segments("\n".join(lines), path, number)) for role, number, lines in sections)


def _check_order(role: Role, earlier: list[Role], where: str) -> None:
    """Many chat templates refuse a second system message, or one that does not come first."""
    if role in earlier:
        raise PromptError(f"{where}: [{role}] appears twice; a prompt has at most one [system] and one [user]")
    if role == "system" and earlier:
        raise PromptError(f"{where}: [system] comes after [user]; put it first")


def _check_no_role(line: str, where: str) -> None:
    """Refuse what was surely meant as a role line: it would otherwise be sent to the model as text."""
    match = _ROLE_LIKE.fullmatch(line.strip())
    if match is None:
        return
    word = match[1].lower()
    if word in _FOREIGN_ROLES or get_close_matches(word, ["system", "user"], cutoff=0.75):
        raise PromptError(f"{where}: {short(line)} is no role; write a line that is exactly [system] or [user]")


def _check_complete(sections: list[tuple[Role, int, list[str]]], before: list[str], path: str, first_line: int) -> None:
    if "".join(before).strip():
        raise PromptError(
            f"{path}, line {first_line}: text stands before the first role; move it below [system] or [user]"
        )
    if sections[-1][0] != "user":
        raise PromptError(f"{path}: there is no [user] section; add a line [user] with what the model is asked")
    for role, number, lines in sections:
        if not "".join(lines).strip():
            raise PromptError(f"{path}, line {number - 1}: the section [{role}] is empty; write it or remove it")


def _segments(text: str, path: str, first_line: int) -> tuple[Segment, ...]:
    """Literal text and variables of one section, without the blank lines around it."""
    start = first_line + text[: len(text) - len(text.lstrip())].count("\n")
    text = text.strip()
    segments: list[Segment] = []
    literal, end = "", 0
    for match in _TOKEN.finditer(text):
        literal, token = literal + text[end : match.start()], match[0]
        end = match.end()
        if token in ("{{", "}}"):
            literal += token[0]
        elif _VARIABLE.fullmatch(token[1:-1]):
            segments.append((literal, token[1:-1]))
            literal = ""
        else:
            line = start + text.count("\n", 0, match.start())
            raise PromptError(
                f"{path}, line {line}: {short(token)} is no placeholder; write a plain variable name as in "
                "'{question}', or double a brace that is meant literally"
            )
    return (*segments, (literal + text[end:], None))


# Words for messages


def listed(names: Iterable[str]) -> str:
    """Names as messages show them."""
    return ", ".join(names)


def short(text: str) -> str:
    """A text in quotes as a message shows it: never long."""
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
