"""Build the site of docs/, the README and the API reference into out/docs, and look at what was built: `make docs`.

Nothing comes from the net, neither here nor when a page is opened: graphs are drawn here, and fonts are the reader's.
What the pages are laid out from stays in out/docs_source.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import mermaidx
import pages

BUILT = pages.ROOT / "out" / "docs"
SOURCE = pages.ROOT / "out" / "docs_source"
_GRAPH = re.compile(r"^```mermaid\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class DocsError(Exception):
    """The site cannot be built, or not as it should be."""


def main() -> int:
    """Build, and return the exit code."""
    try:
        shutil.rmtree(SOURCE, ignore_errors=True)
        _lay_out_package(SOURCE / "package")
        _lay_out_pages(SOURCE / "pages")
        _build()
        _look()
    except DocsError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(f"Open {(BUILT / 'index.html').relative_to(pages.ROOT)}")
    return 0


def _lay_out_package(folder: Path) -> None:
    """The package's sources as they are installed; they are read and never imported."""
    ignored = shutil.ignore_patterns("__pycache__")
    for package, source in sorted(pages.source_folders().items()):
        shutil.copytree(source, folder.joinpath(*package.split(".")), ignore=ignored, dirs_exist_ok=True)


def _lay_out_pages(folder: Path) -> None:
    """Every page in one folder, with links that lead from one to the other, and what pages show and link to."""
    shutil.copytree(pages.ROOT / "docs", folder, ignore=shutil.ignore_patterns("site", "*.md"))
    worker = Path(__file__).with_name("iframe-worker.js")
    (folder / "assets").mkdir()
    shutil.copy(worker, folder / "assets")
    written = pages.written_pages()
    made = {**pages.reference_pages(), **pages.tree_pages(written)}
    for path, markdown in written.items():
        page = pages.on_site(path)
        made[page] = _with_graphs(folder / page, pages.for_site(path, markdown))
    for page, markdown in made.items():
        (folder / page).parent.mkdir(parents=True, exist_ok=True)
        (folder / page).write_text(markdown, "utf-8")


def _with_graphs(page: Path, markdown: str) -> str:
    """The page with a picture in the place of each graph."""
    for number, found in enumerate(list(_GRAPH.finditer(markdown))):
        picture = page.with_name(f"{page.stem}-graph-{number}.svg")
        picture.write_text(mermaidx.render(found[1]).svg(), "utf-8")
        markdown = markdown.replace(found[0], f"[![Graph]({picture.name})]({picture.name})", 1)
    return markdown


def _build() -> None:
    zensical = Path(sys.executable).with_name("zensical")
    shutil.rmtree(BUILT, ignore_errors=True)
    done = subprocess.run(
        [zensical, "build", "--strict", "--clean"],
        cwd=pages.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(done.stdout, end="")
    if done.returncode:
        raise DocsError("the pages cannot be built; mend what is named above")
    if re.search("^griffe: ", done.stdout, re.MULTILINE):
        raise DocsError("a docstring is not what its function or class is; mend what is named above")


def _look() -> None:
    """Every public name has its section, every link leads somewhere, and no page asks the net for anything.

    Raises:
        DocsError: something is missing, or would be fetched.
    """
    (BUILT / "404.html").unlink()  # for a server at the root of an address, and there is none
    looked = {path: _Page(path) for path in sorted(BUILT.rglob("*.html"))}
    for module, names in pages.public_names().items():
        page = looked[(BUILT / pages.page_of(module)).with_suffix(".html")]
        for name in names:
            if f"{pages.PACKAGE}.{name}" not in page.ids:
                raise DocsError(f"{page.path} has no section of {name}; give {name} a docstring")
    for page in looked.values():
        for address in page.fetched:
            raise DocsError(f"{page.path} fetches {address}; put a copy of it into docs/")
        for link in page.links:
            path, _, anchor = link.partition("#")
            there = (page.path.parent / path).resolve() if path else page.path
            if not there.exists():
                raise DocsError(f"{page.path} links to {link}, which is not there")
            if anchor and there in looked and anchor not in looked[there].ids:
                raise DocsError(f"{page.path} links to {link}, and {there.name} has no such place")


class _Page(HTMLParser):
    """The ids of a page, where it leads to on the site, and what a browser fetches from the net when it opens it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See HTMLParser."""
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        for address in _fetched(tag, given):
            (self.fetched if re.match(r"(https?:)?//", address) else self.links).append(address)
        if tag == "a" and not re.match(r"[a-z]+:", given.get("href", "")):
            self.links.append(given.get("href", ""))


def _fetched(tag: str, given: dict[str, str]) -> Iterator[str]:
    if tag == "link" and given.get("rel") != "canonical":
        yield given.get("href", "")
    if tag in ("script", "img", "iframe", "source", "video", "audio", "embed") and not given.get("src", "").startswith(
        "data:"
    ):
        yield given.get("src", "")


if __name__ == "__main__":
    sys.exit(main())
