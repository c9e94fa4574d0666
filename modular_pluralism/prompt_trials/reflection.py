"""A model that looks at a prompt and at what came of it, and writes another one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from modular_pluralism.errors import ContextOverflowError, ModelCallError, PromptError
from modular_pluralism.evaluation.measures.judge import OpenModel
from modular_pluralism.models.calls import Caller
from modular_pluralism.nodes import ask
from modular_pluralism.nodes.step import derive_seed
from modular_pluralism.prompts import Prompt, PromptSet
from modular_pluralism.prompts.loader import variables_in

_ASKS = 3
"""How often a model is asked for a text that can be used, before this turn of the search is given up."""
_FENCED = re.compile(r"```[a-z]*[ \t]*\n(.*?)\n?```", re.DOTALL)


@dataclass
class Reflection:
    """Asks `model` for better texts of `prompt`, of at most so many `tokens` with all that it says beside;
    `counted` and `refused` tell of all asks so far.

    A text is refused, and the model told why, where it does not have exactly the prompt's variables, is no usable
    prompt for another reason, is not new, or is cut off.
    """

    model: OpenModel
    prompt: Prompt
    prompts: PromptSet
    caller: Caller
    seed: int
    tokens: int = 512
    counted: int = 0
    refused: list[str] = field(default_factory=list)
    known: set[str] = field(default_factory=set)

    async def better(self, text: str, examples: Sequence[str]) -> str | None:
        """Another text in the place of `text`, in the light of the examples; None where none can be used.

        Raises:
            PluralismError: the model cannot be asked.
        """
        messages = self.prompts["reflect"].render(
            text=text, examples="\n\n".join(examples), names=_names(self.prompt.variables)
        )
        asked = messages
        for _ in range(_ASKS):
            self.counted += 1
            try:
                reply, whole = await self._ask(asked)
            except (ContextOverflowError, EmptyReplyError) as error:
                self.refused.append(str(error))
                return None  # to say more would not make it shorter
            try:
                better = self._usable(_text_in(reply), whole=whole)
            except PromptError as error:
                problem = _sentence(str(error))
            else:
                self.known.add(better.strip())
                return better
            self.refused.append(problem)
            asked = self._with_problem(messages, reply if whole else None, problem)
        return None

    async def _ask(self, messages: list[BaseMessage]) -> tuple[str, bool]:
        """The reply, and whether it is whole."""
        model = self.model()
        outcome = await self.caller.acall(
            ask.text(
                model,
                messages,
                max_tokens=self.tokens,
                seed=derive_seed(self.seed, "reflect", self.counted),
                streamed=False,
            ),
            {},
        )
        try:
            reply = ask.reply(outcome, model.place)
        except ModelCallError as error:
            raise EmptyReplyError(str(error)) from None
        return reply["text"], reply["finish_reason"] != "length"

    def _with_problem(self, messages: list[BaseMessage], reply: str | None, problem: str) -> list[BaseMessage]:
        """The conversation that asks again. Without the reply where it was cut off, since it would fill the context."""
        again = self.prompts["reflect_again"].render(problem=problem)
        if reply is not None:
            return [*messages, AIMessage(reply), *again]
        # In the same message: many chat templates want turns to alternate.
        return [*messages[:-1], HumanMessage("\n\n".join(str(each.text) for each in (messages[-1], *again)))]

    def _usable(self, text: str, *, whole: bool) -> str:
        """The text, if the prompt can have it.

        Raises:
            PromptError: it cannot.
        """
        if not whole:
            raise PromptError(f"it is longer than {self.tokens} tokens, and was cut off")
        used = variables_in(text)
        missing = [name for name in self.prompt.variables if name not in used]
        unknown = [name for name in used if name not in self.prompt.variables]
        if missing:
            raise PromptError(f"it lacks {_names(missing)}")
        if unknown:
            raise PromptError(f"it has {_names(unknown)}, which nothing is put in for")
        self.prompt.with_text(text, "it")
        if text.strip() in self.known:
            raise PromptError("it has been tried already")
        return text


class EmptyReplyError(Exception):
    """The reflecting model said nothing."""


def _text_in(reply: str) -> str:
    """What stands between fences, or the whole reply where there are none."""
    fenced = _FENCED.search(reply)
    return (fenced[1] if fenced else reply).strip("\n") + "\n"


def _names(variables: Sequence[str]) -> str:
    return ", ".join(f"{{{name}}}" for name in variables) or "(none)"


def _sentence(problem: str) -> str:
    return problem if problem.endswith(".") else f"{problem}."
