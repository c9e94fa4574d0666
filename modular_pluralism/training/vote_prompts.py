"""A survey question as the tokens that the engine reads when it reads a community's own distribution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from langchain_core.messages import BaseMessage

from modular_pluralism.errors import TrainingError
from modular_pluralism.llama.chat_model import turns
from modular_pluralism.llama.chat_template import ChatTemplate
from modular_pluralism.llama.model_file import ModelFile
from modular_pluralism.llama.prefix_reuse import common_length
from modular_pluralism.nodes.render import one_line, option_lines, quoted
from modular_pluralism.option_math import letters
from modular_pluralism.prompts import PromptSet


def vote_prompt(prompts: PromptSet, question: str, options: Sequence[str], attribute: str | None) -> list[BaseMessage]:
    """The prompt `vote`, or `vote_group` where a population is named, for the options in this order."""
    known = {"question": quoted(question), "options": option_lines(prompts, options)}
    if attribute is None:
        return prompts["vote"].render(**known)
    return prompts["vote_group"].render(**known, attribute=one_line(attribute))


class VoteEncoder:
    """Renders prompts to tokens with the vocabulary and the chat template of one GGUF file. Close it after use."""

    def __init__(
        self,
        gguf: Path,
        *,
        template: bool = True,
        template_text: str | None = None,
        template_kwargs: Mapping[str, Any] | None = None,
        prompts: PromptSet | None = None,
    ) -> None:
        """The template is as in ChatTemplate.

        Raises:
            ModelLoadError: the file cannot be loaded, or has no chat template and `template` is true.
        """
        self.prompts = prompts or PromptSet.load()
        self.model = ModelFile(gguf)
        self._template = ChatTemplate(self.model, raw=not template, template=template_text, variables=template_kwargs)

    def tokens(self, question: str, options: Sequence[str], attribute: str | None) -> list[int]:
        """The tokens up to where the letter is said."""
        messages = vote_prompt(self.prompts, question, options, attribute)
        return self._template.tokens(turns(messages))

    def invocation(self) -> list[int]:
        """What every such prompt ends with, whatever it asks, and no other place of it has: the tokens from which on an
        activated adapter acts.

        Raises:
            TrainingError: prompts have no such end.
        """
        one = self.tokens("Is it so?", ["Yes", "No"], "People")
        other = self.tokens("What is it?", ["This", "That one", "Neither"], None)
        count = common_length(one[::-1], other[::-1])
        found = one[len(one) - count :]
        if count < 2:
            raise TrainingError(
                f"Prompts of {self.model.path.name} have no end in common from which an activated adapter could act; "
                "train a plain one, without --activated."
            )
        return found

    def letter_tokens(self, count: int) -> list[list[int]]:
        """For each of so many letters the tokens that spell it, with and without a space before it.

        Raises:
            TrainingError: a letter is no single token of this vocabulary, so that its probability is not that of one.
        """
        spellings = []
        for letter in letters(count):
            spelled = [self.model.tokenize(text, parse_special=False) for text in (letter, f" {letter}")]
            single = sorted({tokens[0] for tokens in spelled if len(tokens) == 1})
            if not single:
                raise TrainingError(
                    f"The letter {letter} is no single token of {self.model.path.name}, so that survey answers cannot "
                    "be learnt on it; choose another base."
                )
            spellings.append(single)
        return spellings

    def text_tokens(self, text: str) -> list[int]:
        """The tokens of a text, with the model's begin-of-text token if it wants one, and its end-of-text token."""
        tokens = self.model.tokenize(text, parse_special=False, add_special=True)
        end = self.model.end_token
        return tokens if end < 0 or tokens[-1:] == [end] else [*tokens, end]

    def close(self) -> None:
        """Free the file."""
        self.model.close()
