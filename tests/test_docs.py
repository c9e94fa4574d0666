"""What README and docs/ link to is there, and the site has a page of everything; `make docs` looks at what it built."""

from __future__ import annotations

import re
import runpy
import tomllib
from collections.abc import Iterator
from inspect import isgeneratorfunction
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

import modular_pluralism
from modular_pluralism import build_comments, build_distributional
from modular_pluralism.graphs.every_graph import every_graph
from modular_pluralism.graphs.shape import example_pool, graph_nodes
from modular_pluralism.models.spans import Asked

REPOSITORY = Path(__file__).resolve().parents[1]
SITE = runpy.run_path(str(REPOSITORY / "docs" / "site" / "pages.py"))
WRITTEN: dict[str, str] = SITE["written_pages"]()


def anchors(markdown: str) -> set[str]:
    """The places in a page, as GitHub names them."""
    headings = re.findall(r"^#+ +(.+?) *$", re.sub(r"^```.*?^```$", "", markdown, flags=re.DOTALL | re.MULTILINE), re.M)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


def named_in(row: str) -> set[str]:
    """What is in code marks in the first row of docs/embedding.md's tables that begins so."""
    found = re.search(rf"^\| `{re.escape(row)}` \| (.*) \|$", (REPOSITORY / "docs/embedding.md").read_text(), re.M)
    assert found
    return set(re.findall(r"`(\w+)`", found[1]))


def test_the_tables_of_callbacks_name_what_models_are_told() -> None:
    pool = example_pool(("north",))
    graphs = [build(pool, **settings) for _, build, settings in every_graph()]
    graphs.append(build_comments(pool, after_comments=[str]))
    graphs.append(build_distributional(pool, pooling=lambda distributions, weights: 0))
    marks: list[dict[str, Any]] = []
    for graph in graphs:
        modes_told = {node.metadata["mode"] for node in graph.nodes.values() if node.metadata}
        for node in graph_nodes(graph):
            if node.key is None:  # it waits for people
                continue
            if isgeneratorfunction(node.key.step._make(**node.key.step._arguments)):  # it asks a model
                marks += [{"mode": mode, "role": node.role} for mode in modes_told]
    assert named_in("role") == {each["role"] for each in marks}
    told = {each["mode"] for each in marks}
    assert named_in("mode") == {mode for mode in told if not mode.startswith("prompting_")} | {"prompting_overton"}
    assert named_in("gen_ai.operation.name") == set(get_args(get_type_hints(Asked)["operation"]))


def dead_links(page: str, markdown: str) -> list[str]:
    dead = []
    for link in (found[0] for found in SITE["links"](markdown)):
        there, anchor = SITE["target"](page, link), link.partition("#")[2]
        file = REPOSITORY / there
        text = markdown if there == page else file.read_text() if anchor and file.is_file() else ""
        if not file.exists() or (anchor and anchor not in anchors(text)):
            dead.append(link)
    return dead


def pages_in(nav: list[Any]) -> Iterator[str]:
    for entry in nav:
        inside = next(iter(entry.values())) if isinstance(entry, dict) else entry
        if isinstance(inside, list):
            yield from pages_in(inside)
        else:
            yield inside


@pytest.mark.parametrize("page", WRITTEN)
def test_every_link_leads_to_what_is_there(page: str) -> None:
    assert not dead_links(page, WRITTEN[page])


def test_a_dead_link_is_found() -> None:
    text = (
        "# A title\n[a](gone.md) [b](serving.md#gone) [c](#gone) [d](#a-title) ![e](../prompts/gone.txt)\n"
        "[f](https://example.org/gone) `[g](code.md)` [h](serving.md#models)\n```\n[i](block.md)\n```\n"
    )
    assert dead_links("docs/voting.md", text) == ["gone.md", "serving.md#gone", "#gone", "../prompts/gone.txt"]


def test_the_navigation_has_every_page_once() -> None:
    """Who adds a page lists it in zensical.toml."""
    with (REPOSITORY / "zensical.toml").open("rb") as file:
        listed = list(pages_in(tomllib.load(file)["project"]["nav"]))
    assert sorted(listed) == sorted([*map(SITE["on_site"], WRITTEN), *SITE["reference_pages"]()])
    assert listed[0] == "index.md"


@pytest.mark.parametrize("name", [name for name in modular_pluralism.__all__ if name != "__version__"])
def test_every_public_name_has_its_section_in_the_reference(name: str) -> None:
    pages = SITE["reference_pages"]()
    assert sum(f"::: modular_pluralism.{name}\n" in page for page in pages.values()) == 1
    assert f"[`{name}`]" in pages["reference/index.md"]


def test_code_with_bars_in_a_table_is_the_same_on_the_site() -> None:
    row = "| `a \\| <b>` | [c](#d) |"
    assert SITE["for_site"]("docs/voting.md", row) == "| <code>a &#124; &lt;b&gt;</code> | [c](#d) |"


def test_links_lead_to_the_same_things_on_the_site() -> None:
    text = "[a](../prompts/vote.txt) [b](serving.md#models) [c](../README.md#limits) [d](compose.yaml) [e](#here)"
    assert SITE["for_site"]("docs/voting.md", text) == (
        "[a](tree/prompts/vote.txt.md) [b](serving.md#models) [c](index.md#limits) [d](compose.yaml) [e](#here)"
    )
    assert (
        SITE["for_site"]("README.md", "[a](docs/serving.md) [b](prompts)")
        == "[a](serving.md) [b](tree/prompts/index.md)"
    )
    shown = SITE["tree_pages"]({"README.md": "[b](prompts)"})
    assert "{comments}" in shown["tree/prompts/merge.txt.md"]
    assert "(merge.txt.md)" in shown["tree/prompts/index.md"]
