"""The prompts that a run uses: the built-in files, and a user's folder laid over them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path

from modular_pluralism.checked import checked, hint
from modular_pluralism.errors import PromptError
from modular_pluralism.home import check_inside
from modular_pluralism.prompts.loader import (
    Prompt,
    listed,
    plain_persona,
    read_prompt,
    short,
    text_below_header,
    variables_in,
)
from modular_pluralism.types import Style

_PERSONAS = "personas"
_COMPLETION = "completion"


class PromptSet:
    """Every prompt that a run uses, by name: the built-in ones, and a user's files over them.

    `prompts["merge"]` is a Prompt; iterating gives the names in alphabetical order.
    """

    @checked
    def __init__(self, prompts: Mapping[str, Prompt], personas: Mapping[str, Prompt], style: Style = "chat") -> None:
        self._prompts = dict(prompts)
        self._personas = dict(personas)
        self._style = style

    @classmethod
    @checked
    def load(cls, overlay: Path | str | None = None, *, style: Style = "chat") -> PromptSet:
        """The built-in prompts, each replaced by the file of the same name in a folder, where that has one.

        Args:
            overlay: The folder. It may hold `NAME.txt`, `completion/NAME.txt` and `personas/NAME.md`; hidden files,
                `README*`, `*.py` and `*~` are passed over.
            style: "completion" takes prompts that end where the reply begins, for models that are sent plain text.

        Returns:
            The prompts, checked.

        Raises:
            PromptError: The folder or one of its files cannot be used, a file matches no built-in prompt, or a prompt
                takes other variables than the one that it replaces.

        Example:
            ```python
            from pathlib import Path

            from modular_pluralism import PromptSet, build_overton

            mine = Path("mine")
            mine.mkdir()
            text = PromptSet.load()["merge"].file_text().replace("You write balanced", "You write short, balanced")
            (mine / "merge.txt").write_text(text)
            graph = build_overton(prompts=PromptSet.load(mine))
            ```
        """
        prompts = built_in_files()
        if overlay is not None:
            own = dict(_replaced(path, Path(overlay)) for path in _files(Path(overlay)))
            if not own:
                raise PromptError(
                    f"{overlay} holds no prompt; put files such as merge.txt or personas/news_left.md there, or leave "
                    "the folder out"
                )
            prompts |= own
        in_folder: dict[str, dict[str, Prompt]] = {"": {}, _COMPLETION: {}, _PERSONAS: {}}
        for file, prompt in prompts.items():
            folder, _, name = file.rpartition("/")
            in_folder[folder][name] = prompt
        chosen = in_folder[""] | (in_folder[_COMPLETION] if style == "completion" else {})
        return cls({prompt.name: prompt for prompt in chosen.values()}, in_folder[_PERSONAS], style)

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
            check_inside(folder / file_name, folder, PromptError)
            return plain_persona(folder / file_name)
        if file_name in self._personas:
            return self._personas[file_name].text.strip()
        where = "among the personas" if folder is None else f"in {str(folder)!r} or among the personas"
        raise PromptError(
            f"there is no file {short(file_name)} {where}; create it, or use one of {listed(self.personas)}"
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
        first = self._style == "completion"
        texts = {name: self[name].text for name in names}
        with_text = {name: f"{text}\n\n{own}" if first else f"{own}\n\n{text}\n" for name, own in texts.items()}
        return self.with_prompts({name: replace(self[name], text=new) for name, new in with_text.items()})

    @checked
    def with_texts(self, texts: Mapping[str, str], source: str = "the text") -> PromptSet:
        """The set with other texts in the place of its own.

        Args:
            texts: By the prompt's name, or a persona's file name. A text stands below the header of the prompt that it
                replaces, and so has to use exactly its variables.
            source: What messages call the place that the texts come from.

        Returns:
            The new set.

        Raises:
            PromptError: There is no such prompt, or a text is unusable.

        Example:
            ```python
            from modular_pluralism import PromptSet

            prompts = PromptSet.load().with_texts({"vanilla": "Answer in one word: {question}"})
            ```
        """
        known = {name: self._personas.get(name) or self[name] for name in texts}
        return self.with_prompts({name: known[name].with_text(texts[name], f"{source} for {name}") for name in texts})

    def with_built_in(self, names: Iterable[str]) -> PromptSet:
        """The set with the built-in prompts of these names where it has none: one that was put together by hand may be
        older than they are."""
        lacking = [name for name in names if name not in self]
        if not lacking:
            return self
        built_in = PromptSet.load(style=self._style)
        return self.with_prompts({name: built_in[name] for name in lacking})

    def with_prompts(self, prompts: Mapping[str, Prompt]) -> PromptSet:
        """The set with these prompts in the place of its own, or beside them; personas are by their files' names."""
        personas = {name: prompt for name, prompt in prompts.items() if prompt.mode == "persona"}
        others = {name: prompt for name, prompt in prompts.items() if prompt.mode != "persona"}
        return PromptSet(self._prompts | others, self._personas | personas, self._style)


def built_in_files() -> dict[str, Prompt]:
    """Every built-in prompt by its place in a folder: merge.txt, completion/merge.txt, personas/news_left.md."""
    return dict(_built_in())


@cache
def _built_in() -> dict[str, Prompt]:
    root = files(__package__ or "modular_pluralism.prompts")
    prompts: dict[str, Prompt] = {}
    for folder, ending in (("", ".txt"), (f"{_COMPLETION}/", ".txt"), (f"{_PERSONAS}/", ".md")):
        paths = sorted((path for path in (root / folder).iterdir() if path.name.endswith(ending)), key=lambda p: p.name)
        prompts |= {folder + path.name: read_prompt(path) for path in paths}
    return prompts


@dataclass(frozen=True)
class FolderFile:
    """A file in a folder of prompts: `file` is its place there, such as completion/merge.txt.

    Either `prompt` is what it replaces a built-in prompt by, and `same` says that the text does not differ from it; or
    `problems` has a sentence for each reason why the file cannot be used.
    """

    file: str
    prompt: Prompt | None = None
    same: bool = False
    problems: tuple[str, ...] = ()


def find_prompt(name: str) -> tuple[str, Prompt]:
    """A built-in prompt's file and the prompt: "merge", "merge.txt", "completion/merge", "personas/news_left".

    Raises:
        PromptError: there is none of that name.
    """
    known = built_in_files()
    for file in (name, f"{name}.txt", f"{name}.md", f"personas/{name}", f"personas/{name}.md"):
        if file in known:
            return file, known[file]
    meant = hint(name, [file.removesuffix(".txt").removesuffix(".md") for file in known])
    raise PromptError(f"there is no prompt {name!r}; `pluralism prompts` lists all of them{meant}")


def read_folder(folder: Path) -> list[FolderFile]:
    """Every file of a folder of prompts, checked, in a stable order; empty where it holds none.

    Raises:
        PromptError: there is no such folder, or it cannot be read.
    """
    return [_checked(path, folder) for path in _files(folder)]


def _checked(path: Path, folder: Path) -> FolderFile:
    file, known = path.relative_to(folder).as_posix(), built_in_files()
    try:
        _, prompt = _replaced(path, folder)
    except PromptError as error:
        more = tuple(_variable_problems(path, file, known[file])) if file in known else ()
        return FolderFile(file, problems=more or (f"{error}.",))
    return FolderFile(file, prompt, same=prompt.text.strip() == known[file].text.strip())


def _replaced(path: Path, folder: Path) -> tuple[str, Prompt]:
    """The built-in file that a path in a folder of prompts replaces, and by which prompt; else raises PromptError."""
    file, known = path.relative_to(folder).as_posix(), built_in_files()
    if file in known:
        return file, replacement(path, known[file])
    if path.is_dir():
        raise PromptError(f"{path} is a folder that prompts do not have; move its files up, or call it {_PERSONAS!r}")
    beside = [Path(name).name for name in known if Path(name).parent == Path(file).parent]
    raise PromptError(
        f"{path} replaces no built-in prompt; rename it to one that `pluralism prompts` lists, or remove it"
        f"{hint(path.name, beside)}"
    )


def replacement(path: Path, original: Prompt) -> Prompt:
    """The overlay's prompt at `path`, which must be usable wherever the original is; else raises PromptError."""
    prompt = read_prompt(path)
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


def _files(folder: Path) -> Iterator[Path]:
    """Files of a folder of prompts, and folders in it that prompts do not have, in a stable order."""
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise PromptError(f"the prompt folder {folder} {what}; give a folder with files such as merge.txt")
    for entry in _entries(folder):
        if entry.is_dir() and entry.name in (_PERSONAS, _COMPLETION):
            yield from _entries(entry)
        else:
            yield entry


def _entries(folder: Path) -> list[Path]:
    """What is in a folder of prompts, without what may stand there beside them. Raises PromptError."""
    try:
        return sorted(entry for entry in folder.iterdir() if not _passed_over(entry.name))
    except OSError as error:
        raise PromptError(f"the prompt folder {folder} cannot be read ({error.strerror}); allow reading it") from error


def _passed_over(name: str) -> bool:
    """Whether a file may stand in an overlay without being a prompt (what editors, git and a copied package leave)."""
    return name.startswith((".", "README")) or name.endswith((".py", "~")) or name == "__pycache__"


def _check_file_name(name: str) -> None:
    if not name or name.startswith(".") or not name.isprintable() or set(name) & set('/\\:"'):
        raise PromptError(
            f"a persona is a plain file name such as 'news_left.md', not {short(name)}; put the file beside the pool "
            "file and give its name without a folder"
        )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long for the file system names no file
        return False


def _variable_problems(path: Path, file: str, original: Prompt) -> Iterator[str]:
    """One for each variable that the text lacks, or has too much: more than the first one helps who mends it."""
    if original.mode == "persona":
        return
    try:
        used = variables_in(text_below_header(path))
    except PromptError:
        return
    for name in original.variables:
        if name not in used:
            yield f"{file} does not use {{{name}}}; put it into the text."
    for name in used:
        if name not in original.variables:
            takes = listed(original.variables) or "no variables"
            yield (
                f"{file} uses {{{name}}}, but {original.name} takes {takes}; remove it, or write '{{{{{name}}}}}' for "
                f"literal braces{hint(name, original.variables)}."
            )
