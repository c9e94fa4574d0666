"""A fixed text on everyday matters, on which formats are compared and timed."""

from __future__ import annotations

from importlib.resources import files

from modular_pluralism.llama.model_file import ModelFile


def neutral_tokens(model: ModelFile) -> list[int]:
    """The text's tokens: about 1,200."""
    text = files("modular_pluralism.prepared").joinpath("neutral_text.txt").read_text(encoding="utf-8")
    return model.tokenize(text, parse_special=False)


def begin_tokens(model: ModelFile) -> list[int]:
    """What the model wants before every text: its begin-of-text token, or nothing."""
    return model.tokenize("", parse_special=False, add_special=True)


def windows(model: ModelFile, count: int, length: int) -> list[list[int]]:
    """`count` pieces of the text of `length` tokens each, evenly spread over it, after the model's begin token."""
    tokens, begin = neutral_tokens(model), begin_tokens(model)
    step = (len(tokens) - length) / max(1, count - 1)
    starts = [round(number * step) for number in range(count)]
    return [begin + tokens[start : start + length] for start in starts]
