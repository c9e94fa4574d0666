"""What the site has beside docs/: which page has which public name, and where a link into the tree leads."""

from __future__ import annotations

import ast
import html
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "modular_pluralism"

BESIDE_DOCS = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "benchmarks/README.md": "benchmarks.md",
}
"""Pages that do not stand in docs/, and what they are called on the site."""

_FENCE = re.compile(r"^( *)(`{3,}|~{3,})[^\n]*\n.*?^\1\2[ \t]*$", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)", re.DOTALL)
LINK = re.compile(r"(?<=\]\()([^)\s]+)(?=[)\s])")
"""The target of a link or an image."""


def public_names() -> dict[str, list[str]]:
    """The public names by the module that has them, as the package's stub lists them."""
    stub = ast.parse((ROOT / PACKAGE / "__init__.pyi").read_text("utf-8"))
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    return {str(node.module): [name.name for name in node.names] for node in imports}


def page_of(module: str) -> str:
    """The page that describes what is public of a module."""
    return f"reference/{module.removeprefix(f'{PACKAGE}.')}.md"


def reference_pages() -> dict[str, str]:
    """The API reference as Markdown, by page: one for each module, with a section for each name, and the list."""
    listed = [
        f"- `{module}`: " + ", ".join(f"[`{name}`]({Path(page_of(module)).name}#{PACKAGE}.{name})" for name in names)
        for module, names in public_names().items()
    ]
    start = f"# Reference\n\nEverything here is importable from `{PACKAGE}`.\n\n"
    return {"reference/index.md": start + "\n".join(listed) + "\n"} | {
        page_of(module): _reference_page(module, names) for module, names in public_names().items()
    }


def _reference_page(module: str, names: list[str]) -> str:
    sections = "\n\n".join(f"::: {PACKAGE}.{name}" for name in names)
    return f"# {module.removeprefix(f'{PACKAGE}.')}\n\n{_described(module)}\n\n{sections}\n"


def _described(module: str) -> str:
    """The module's own docstring."""
    file = source_of(module)
    return ast.get_docstring(ast.parse((file / "__init__.py" if file.is_dir() else file).read_text("utf-8"))) or ""


def source_folders() -> dict[str, Path]:
    """Where the packages' sources are, by package, as pyproject.toml says."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        folders: dict[str, str] = tomllib.load(file)["tool"]["setuptools"]["package-dir"]
    return {package: ROOT / folder for package, folder in folders.items()}


def source_of(module: str) -> Path:
    """The file of a module, or the folder of a package."""
    folders = source_folders()
    package = max((name for name in folders if f"{module}.".startswith(f"{name}.")), key=len)
    inside = folders[package].joinpath(*module.removeprefix(package).split(".")[1:])
    return inside if inside.is_dir() else inside.with_suffix(".py")


def prose(markdown: str) -> str:
    """The text with its code blanked out, as long as it was."""

    def blank(found: re.Match[str]) -> str:
        return re.sub(r"[^\n]", " ", found[0])

    return _CODE.sub(blank, _FENCE.sub(blank, markdown))


def links(markdown: str) -> Iterator[re.Match[str]]:
    """The links of a page that lead to files of the tree, or to places in these."""
    for found in LINK.finditer(prose(markdown)):
        if not re.match(r"[a-z]+:", found[0]):
            yield found


def target(page: str, link: str) -> str:
    """The file or folder of the tree that a link on a page of it leads to, from the root; the page itself where the
    link is an anchor alone."""
    path = link.partition("#")[0]
    return os.path.normpath(PurePosixPath(page).parent / path).replace(os.sep, "/") if path else page


def on_site(path: str) -> str:
    """Where the site has a file or folder of the tree."""
    if path in BESIDE_DOCS:
        return BESIDE_DOCS[path]
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return f"tree/{path}/index.md" if (ROOT / path).is_dir() else f"tree/{path}.md"


def written_pages() -> dict[str, str]:
    """The Markdown of every page that somebody has written, by its path in the tree."""
    paths = [*BESIDE_DOCS, *(f"docs/{file.name}" for file in sorted((ROOT / "docs").glob("*.md")))]
    return {path: (ROOT / path).read_text("utf-8") for path in paths}


def for_site(page: str, markdown: str) -> str:
    """A page of the tree with its links as the site has them."""

    def led(link: str) -> str:
        _, hash_, anchor = link.partition("#")
        if link.startswith("#"):
            return link
        there = os.path.relpath(on_site(target(page, link)), PurePosixPath(on_site(page)).parent)
        return there.replace(os.sep, "/") + hash_ + anchor

    parts, end = [], 0
    for found in links(markdown):
        parts += [markdown[end : found.start()], led(found[0])]
        end = found.end()
    return _CODE_WITH_BARS.sub(_with_bars, "".join([*parts, markdown[end:]]))


_BAR = "\\|"
_CODE_WITH_BARS = re.compile(r"`([^`\n]*\\\|[^`\n]*)`")
"""Code in a table: GitHub takes the backslash from a bar there, the site does not."""


def _with_bars(found: re.Match[str]) -> str:
    return f"<code>{html.escape(found[1].replace(_BAR, '|')).replace('|', '&#124;')}</code>"


def tree_pages(pages: dict[str, str]) -> dict[str, str]:
    """Pages that show the files and folders of the tree that these pages (Markdown by its path) lead to."""
    led = {target(page, found[0]) for page, markdown in pages.items() for found in links(markdown)}
    shown: dict[str, str] = {}
    for path in sorted(led):
        if path in BESIDE_DOCS or path.startswith("docs/"):
            continue
        files = _files_in(path) if (ROOT / path).is_dir() else [path]
        shown |= {on_site(file): _shown(file) for file in files}
        if (ROOT / path).is_dir():
            entries = [f"- [{Path(file).relative_to(path)}]({Path(file).relative_to(path)}.md)" for file in files]
            shown[on_site(path)] = f"# {path}/\n\n" + "\n".join(entries) + "\n"
    return shown


def _files_in(folder: str) -> list[str]:
    """The files of a folder that people read."""
    files = (path for path in sorted((ROOT / folder).rglob("*")) if path.is_file() and "__pycache__" not in path.parts)
    return [path.relative_to(ROOT).as_posix() for path in files]


def _shown(path: str) -> str:
    """A page with a file's text in a block that nothing in it can end."""
    text = (ROOT / path).read_text("utf-8")
    fence = "`" * max(3, 1 + max((len(ticks) for ticks in re.findall(r"`+", text)), default=0))
    language = {".py": "python", ".toml": "toml", ".yaml": "yaml", ".ipynb": "json"}.get(Path(path).suffix, "text")
    return f"# {path}\n\n{fence}{language}\n{text.rstrip()}\n{fence}\n"
