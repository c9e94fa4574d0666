"""The sentences of a text."""

from __future__ import annotations

from functools import cache
from typing import Any

from modular_pluralism.optional import optional


def sentences(text: str) -> list[str]:
    """The sentences of an English text, as the splitter of the paper's release finds them; none where it is blank.

    The release scores the empty lines between paragraphs as sentences, too. They say nothing and are left out here.

    Raises:
        ModelLoadError: the library sentence-splitter is not installed.
    """
    return [sentence for each in _splitter().split(text) if (sentence := each.strip())]


@cache
def _splitter() -> Any:
    return optional("sentence_splitter", "eval", "Splitting an answer into sentences").SentenceSplitter(language="en")
