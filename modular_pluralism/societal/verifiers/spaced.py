"""Whether the words of a text can be told apart."""

from __future__ import annotations

import re

_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\uff66-\uff9d\U00020000-\U0003ffff]"
)
"""Thai, Lao, Burmese, Khmer, Chinese characters and Japanese syllables, between whose words there is no space."""
_MOST = 0.2
"""The share of such letters from which a text counts as one of that kind."""

UNSPACED = "the text is in a script without spaces between words"
"""What is said of it."""


def words_of(text: str) -> list[str] | None:
    """The words of a text: what stands between white space and holds a letter or digit. None where most of it is in a
    script that puts no spaces between words."""
    letters = sum(map(str.isalnum, text))
    if letters and len(_UNSPACED.findall(text)) / letters > _MOST:
        return None
    return [word for word in text.split() if any(map(str.isalnum, word))]
