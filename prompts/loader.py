"""Prompts as text files: their format, and the set of them that a run uses.

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
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache, cached_property
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Literal

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from modular_pluralism.errors import PromptError
from modular_pluralism.types import Style as Style

Role = Literal["system", "user"]
"""Whether prompts are made for a chat template, or for plain text that the model goes on with."""
Piece = tuple[str, str | None]
"""A stretch of literal text, and the variable that follows it (None at the end)."""

MODES = ("any", "overton", "steerable", "distributional", "baseline", "judge", "fragment", "persona")
"""What a header's `mode` may say: the mode that uses the prompt; `any` for several of them; `baseline` for what the
modes are compared with; `judge` for what an evaluation asks about answers, and a search about prompts; `fragment` for a
text that stands inside other prompts; `persona` for a system prompt."""

HEADER_KEYS = ("name", "mode", "variables", "version")

_FENCE = "---"
_VARIABLE = re.compile(r"[a-z][a-z0-9_]*")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")
_TOKEN = re.compile(r"\{\{|\}\}|\{[^{}]*\}|[{}]")
_ROLE_LIKE = re.compile(r"\[\s*([A-Za-z]+)\s*\]:?")
_FOREIGN_ROLES = ("system", "user", "assistant", "human", "ai")
_PERSONAS = "personas"
_COMPLETION = "completion"


@dataclass(frozen=True)
class Section:
    """One chat message of a prompt, taken apart into literal text and variables."""

    role: Role
    pieces: tuple[Piece, ...]

    @property
    def variables(self) -> frozenset[str]:
        """Names of the variables that stand in this section."""
        return frozenset(variable for _, variable in self.pieces if variable is not None)

    def fill(self, values: Mapping[str, str]) -> str:
        """The section's text with every variable replaced by its value."""
        return "".join(literal + ("" if name is None else values[name]) for literal, name in self.pieces)

    def message(self, values: Mapping[str, str]) -> BaseMessage:
        """The section as a chat message."""
        text = self.fill(values)
        return SystemMessage(text) if self.role == "system" else HumanMessage(text)


@dataclass(frozen=True)
class Prompt:
    """One prompt, checked when it is made: its text uses exactly the variables that it declares.

    `text` is what follows the header, `path` where it was read, and `first_line` the line of that file on which `text`
    starts, so that messages can name the line. Raises PromptError where the text is not a usable prompt.
    """

    name: str
    mode: str
    variables: tuple[str, ...]
    version: int
    text: str
    path: str
    first_line: int = 1

    def __post_init__(self) -> None:
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
        """The prompt as chat messages, one a section, with the values put in.

        Raises PromptError where a variable is missing, is not one of this prompt's, or is neither text nor a number.
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


class PromptSet:
    """Every prompt that a run uses, by name: the built-in ones, and a user's files over them.

    `prompts["merge"]` is a Prompt; iterating gives the names in alphabetical order.
    """

    def __init__(self, prompts: Mapping[str, Prompt], personas: Mapping[str, Prompt], style: Style = "chat") -> None:
        self._prompts = dict(prompts)
        self._personas = dict(personas)
        self._style = style

    @classmethod
    def load(cls, overlay: Path | str | None = None, *, style: Style = "chat") -> PromptSet:
        """The built-in prompts, each replaced by the file of the same name in the folder `overlay`, if it has one.

        `style` "completion" takes prompts that end where the reply begins, for models that are sent plain text.

        An overlay may hold `NAME.txt`, `completion/NAME.txt` and `personas/NAME.md`. Hidden files, `README*`, `*.py`
        and `*~` are passed over. Raises PromptError where the folder or one of its files cannot be used, a file matches
        no built-in prompt, or a prompt takes other variables than the one that it replaces.
        """
        built_in = _built_in()
        chosen = built_in if overlay is None else built_in._overlaid(Path(overlay))
        return chosen if style == "chat" else chosen._for_completion(None if overlay is None else Path(overlay))

    @property
    def personas(self) -> tuple[str, ...]:
        """File names of the personas in this set, in alphabetical order."""
        return tuple(sorted(self._personas))

    def persona(self, file_name: str, folder: Path | None = None) -> str:
        """The system prompt in the file `file_name`: the one in `folder` (the pool's), else the one in this set.

        A file in `folder` may be plain text without a header. `file_name` is a name and never a path, so that a text
        that names a persona cannot make us read another file. Raises PromptError.
        """
        _check_file_name(file_name)
        if folder is not None and _is_file(folder / file_name):
            return _plain_persona(folder / file_name)
        if file_name in self._personas:
            return self._personas[file_name].text.strip()
        where = "among the personas" if folder is None else f"in {str(folder)!r} or among the personas"
        raise PromptError(
            f"there is no file {_short(file_name)} {where}; create it, or use one of {listed(self.personas)}"
            f"{hint(file_name, self.personas)}"
        )

    def __getitem__(self, name: str) -> Prompt:
        try:
            return self._prompts[name]
        except KeyError:
            raise PromptError(
                f"there is no prompt {name!r}; use one of {listed(self)}{hint(name, self._prompts)}"
            ) from None

    def __contains__(self, name: object) -> bool:
        return name in self._prompts

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._prompts))

    def __len__(self) -> int:
        return len(self._prompts)

    def with_demand(self, names: Iterable[str], demand: str) -> PromptSet:
        """The set with a sentence added to these prompts: as the last of a chat prompt, or as the first of one that
        ends where the reply begins. `demand` is put in as it stands."""
        text = demand.replace("{", "{{").replace("}", "}}")
        changed = {
            name: replace(
                self[name],
                text=f"{text}\n\n{self[name].text}"
                if self._style == "completion"
                else f"{self[name].text}\n\n{text}\n",
            )
            for name in names
        }
        return PromptSet(self._prompts | changed, self._personas, self._style)

    def with_texts(self, texts: Mapping[str, str], source: str = "the text") -> PromptSet:
        """The set with these texts in the place of its own: by the prompt's name, or a persona's file name.

        A text stands below the header of the prompt that it replaces, and so has to use exactly its variables; `source`
        names in messages where the texts come from. Raises PromptError where there is no such prompt, or a text is
        unusable.
        """
        prompts, personas = dict(self._prompts), dict(self._personas)
        for name, text in texts.items():
            if name in personas:
                personas[name] = personas[name].with_text(text, f"{source} for {name}")
            else:
                prompts[name] = self[name].with_text(text, f"{source} for {name}")
        return PromptSet(prompts, personas, self._style)

    def _overlaid(self, folder: Path) -> PromptSet:
        prompts, personas = dict(self._prompts), dict(self._personas)
        replaced = 0
        for path in _overlay_files(folder):
            if path.parent.name == _COMPLETION and path.parent != folder:
                _match(path, [f"{name}.txt" for name in _completion()])
            elif path.parent == folder:
                _match(path, [f"{name}.txt" for name in self])
                prompts[path.stem] = replacement(path, prompts[path.stem])
            else:
                _match(path, self.personas)
                personas[path.name] = replacement(path, personas[path.name])
            replaced += 1
        if not replaced:
            raise PromptError(
                f"{folder} holds no prompt; put files such as merge.txt or personas/news_left.md there, or leave the "
                "folder out"
            )
        return PromptSet(prompts, personas)

    def _for_completion(self, folder: Path | None) -> PromptSet:
        prompts = self._prompts | _completion()
        own = None if folder is None else folder / _COMPLETION
        if own is not None and own.is_dir():
            prompts |= {path.stem: replacement(path, prompts[path.stem]) for path in entries(own)}
        return PromptSet(prompts, self._personas, "completion")


# The set of files


def built_in_files() -> dict[str, Prompt]:
    """Every built-in prompt by its place in a folder: merge.txt, completion/merge.txt, personas/news_left.md."""
    return {
        **{f"{name}.txt": prompt for name, prompt in sorted(_built_in()._prompts.items())},
        **{f"{_COMPLETION}/{name}.txt": prompt for name, prompt in sorted(_completion().items())},
        **{f"{_PERSONAS}/{name}": prompt for name, prompt in sorted(_built_in()._personas.items())},
    }


@cache
def _built_in() -> PromptSet:
    root = files(__package__ or "modular_pluralism.prompts")
    prompts = {p.name: p for p in _parsed(root, ".txt")}
    personas = {f"{p.name}.md": p for p in _parsed(root / _PERSONAS, ".md")}
    return PromptSet(prompts, personas)


@cache
def _completion() -> dict[str, Prompt]:
    root = files(__package__ or "modular_pluralism.prompts")
    return {p.name: p for p in _parsed(root / _COMPLETION, ".txt")}


def _parsed(folder: Traversable, ending: str) -> Iterator[Prompt]:
    for file in folder.iterdir():
        if file.name.endswith(ending):
            yield _parse(_read(file), str(file), file.name.removesuffix(ending))


def replacement(path: Path, original: Prompt) -> Prompt:
    """The overlay's prompt at `path`, which must be usable wherever the original is; else raises PromptError."""
    prompt = _parse(_read(path), str(path), path.stem)
    if set(prompt.variables) != set(original.variables):
        wanted = listed(original.variables) or "nothing"
        raise PromptError(
            f"{path}: variables lists {listed(prompt.variables) or 'nothing'}, but the built-in prompt that it "
            f"replaces takes {wanted}; list exactly those"
        )
    if prompt.mode != original.mode:
        raise PromptError(
            f"{path}: mode is {prompt.mode}, but the built-in prompt that it replaces has {original.mode}; write that"
        )
    return prompt


def _overlay_files(folder: Path) -> list[Path]:
    """Files of an overlay that have to match a built-in prompt, in a stable order."""
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise PromptError(f"the prompt folder {folder} {what}; give a folder with files such as merge.txt")
    found: list[Path] = []
    for entry in entries(folder):
        if not entry.is_dir():
            found.append(entry)
        elif entry.name in (_PERSONAS, _COMPLETION):
            found.extend(entries(entry))
        else:
            raise PromptError(
                f"{entry} is a folder that prompts do not have; move its files up, or call it {_PERSONAS!r}"
            )
    return found


def text_below_header(path: Path) -> str:
    """What a prompt file says below its header, not checked. Raises PromptError where it has no header."""
    return _split(_read(path), str(path))[1]


def variables_in(text: str) -> list[str]:
    """The variables that a text uses, each once, in their order."""
    found = (match[0][1:-1] for match in _TOKEN.finditer(text))
    return list(dict.fromkeys(name for name in found if _VARIABLE.fullmatch(name)))


def entries(folder: Path) -> list[Path]:
    """What is in a folder of prompts, without what may stand there beside them. Raises PromptError."""
    try:
        return sorted(entry for entry in folder.iterdir() if not _passed_over(entry.name))
    except OSError as error:
        raise PromptError(f"the prompt folder {folder} cannot be read ({error.strerror}); allow reading it") from error


def _passed_over(name: str) -> bool:
    """Whether a file may stand in an overlay without being a prompt (what editors, git and a copied package leave)."""
    return name.startswith((".", "README")) or name.endswith((".py", "~")) or name == "__pycache__"


def _match(path: Path, names: list[str] | tuple[str, ...]) -> None:
    if path.name not in names:
        raise PromptError(
            f"{path} replaces no built-in prompt; rename it to one of {listed(names)}, or remove it"
            f"{hint(path.name, names)}"
        )


def _check_file_name(name: str) -> None:
    if not name or name.startswith(".") or not name.isprintable() or set(name) & set('/\\:"'):
        raise PromptError(
            f"a persona is a plain file name such as 'news_left.md', not {_short(name)}; put the file beside the pool "
            "file and give its name without a folder"
        )


def _plain_persona(path: Path) -> str:
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


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long for the file system names no file
        return False


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
        raise PromptError(f"{path}: name is {_short(header['name'])}; write 'name: {stem}', as the file is called")
    if header["mode"] not in MODES:
        meant = hint(header["mode"], MODES)
        raise PromptError(f"{path}: mode is {_short(header['mode'])}; use one of {listed(MODES)}{meant}")
    if not _VERSION.fullmatch(header["version"]):
        raise PromptError(f"{path}: version is {_short(header['version'])}; write a whole number such as 1")
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
        raise PromptError(f"{path}, line {number}: {_short(line)} is not 'key: value'; write it so, or end the header")
    if key not in HEADER_KEYS:
        raise PromptError(
            f"{path}, line {number}: unknown header key {_short(key)}; use {listed(HEADER_KEYS)}"
            f"{hint(key, HEADER_KEYS)}"
        )
    return key, value


def _variables(listed: str, path: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in listed.split(",")) if listed else ()
    for name in names:
        if not _VARIABLE.fullmatch(name):
            raise PromptError(
                f"{path}: variables has {_short(name)}; separate names such as question or comment_2 by commas"
            )
        if names.count(name) > 1:
            raise PromptError(f"{path}: variables lists {name} twice; remove one of them")
    return names


def _sections(text: str, path: str, first_line: int) -> tuple[Section, ...]:
    found: list[tuple[Role, int, list[str]]] = []
    before: list[str] = []
    for number, line in enumerate(text.split("\n"), start=first_line):
        if line == "[system]" or line == "[user]":
            role: Role = "system" if line == "[system]" else "user"
            _check_order(role, [earlier for earlier, _, _ in found], f"{path}, line {number}")
            found.append((role, number + 1, []))
        else:
            _check_no_role(line, f"{path}, line {number}")
            (found[-1][2] if found else before).append(line)
    if not found:
        return (Section("user", _pieces(text, path, first_line)),)
    _check_complete(found, before, path, first_line)
    return tuple(Section(role, _pieces("\n".join(lines), path, number)) for role, number, lines in found)


def _check_order(role: Role, earlier: list[Role], place: str) -> None:
    """Many chat templates refuse a second system message, or one that does not come first."""
    if role in earlier:
        raise PromptError(f"{place}: [{role}] appears twice; a prompt has at most one [system] and one [user]")
    if role == "system" and earlier:
        raise PromptError(f"{place}: [system] comes after [user]; put it first")


def _check_no_role(line: str, place: str) -> None:
    """Refuse what was surely meant as a role line: it would otherwise be sent to the model as text."""
    match = _ROLE_LIKE.fullmatch(line.strip())
    if match is None:
        return
    word = match[1].lower()
    if word in _FOREIGN_ROLES or get_close_matches(word, ["system", "user"], cutoff=0.75):
        raise PromptError(f"{place}: {_short(line)} is no role; write a line that is exactly [system] or [user]")


def _check_complete(found: list[tuple[Role, int, list[str]]], before: list[str], path: str, first_line: int) -> None:
    if "".join(before).strip():
        raise PromptError(
            f"{path}, line {first_line}: text stands before the first role; move it below [system] or [user]"
        )
    if found[-1][0] != "user":
        raise PromptError(f"{path}: there is no [user] section; add a line [user] with what the model is asked")
    for role, number, lines in found:
        if not "".join(lines).strip():
            raise PromptError(f"{path}, line {number - 1}: the section [{role}] is empty; write it or remove it")


def _pieces(text: str, path: str, first_line: int) -> tuple[Piece, ...]:
    """Literal text and variables of one section, without the blank lines around it."""
    start = first_line + text[: len(text) - len(text.lstrip())].count("\n")
    text = text.strip()
    pieces: list[Piece] = []
    literal, end = "", 0
    for match in _TOKEN.finditer(text):
        literal, token = literal + text[end : match.start()], match[0]
        end = match.end()
        if token in ("{{", "}}"):
            literal += token[0]
        elif _VARIABLE.fullmatch(token[1:-1]):
            pieces.append((literal, token[1:-1]))
            literal = ""
        else:
            line = start + text.count("\n", 0, match.start())
            raise PromptError(
                f"{path}, line {line}: {_short(token)} is no placeholder; write a plain variable name as in "
                "'{question}', or double a brace that is meant literally"
            )
    return (*pieces, (literal + text[end:], None))


# Words for messages


def listed(names: PromptSet | tuple[str, ...] | list[str]) -> str:
    """The names as a text."""
    return ", ".join(names)


def hint(name: str, known: Mapping[str, object] | tuple[str, ...] | list[str]) -> str:
    """The known name that was probably meant, as the end of a sentence; empty where none is near."""
    close = get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
