"""What an embedded model has written, taken apart: reasoning, text, and calls of tools."""

from __future__ import annotations

from modular_pluralism.errors import NoRoomError
from modular_pluralism.llama.generation import Finish, Piece
from modular_pluralism.llama.model_file import ModelFile
from modular_pluralism.llama.thinking import Markers, ThoughtSplitter, is_of_marker
from modular_pluralism.llama.tool_calls import CALL_MARKERS, CallForm, CallSplitter, ToolCall


class ReplyParts:
    """Takes one reply apart, piece by piece; `opened` are the markers of reasoning that the prompt has begun. With
    `apart`, reasoning was asked for with a budget of its own, and the pieces have it apart already. `form` is how calls
    are written, where there may be any; once the reply has ended, they are in `calls`."""

    def __init__(
        self,
        model: ModelFile,
        opened: Markers | None,
        name: str,
        max_tokens: int,
        *,
        apart: bool = False,
        form: CallForm | None = None,
    ) -> None:
        self._apart = apart
        self._model = model
        self._name = name
        self._max_tokens = max_tokens
        self._splitter = ThoughtSplitter(opened)
        self._thought = self._said = False
        self._calling = None if form is None else CallSplitter(form)
        self.calls: list[ToolCall] = []

    def passed(self, piece: Piece) -> tuple[str, str]:
        """The reasoning and the text that are certain after this piece."""
        if self._apart:
            return self._without_calls(self._noted((piece.reasoning, self._spelled(piece, thoughts=False))))
        spelled = self._spelled(piece, thoughts=not self._splitter.in_text)
        return self._without_calls(self._noted(self._splitter.passed(spelled)))

    def ended(self, finish: Finish) -> tuple[str, str]:
        """What was held back.

        Raises:
            NoRoomError: reasoning has taken all the tokens.
        """
        rest = self._noted(self._splitter.ended())
        if self._thought and not self._said and finish.reason == "length" and self._apart:
            raise NoRoomError(
                f"{self._name} had no room left for a text after {finish.reasoning_tokens} tokens of reasoning; raise "
                "context in its [models.*] table, or give thinking a smaller number there."
            )
        if self._thought and not self._said and finish.reason == "length":
            raise NoRoomError(
                f"{self._name} spent all {self._max_tokens} tokens on reasoning and wrote no text; turn thinking off "
                "in its template_kwargs, or raise comment_tokens and answer_tokens in the pool's [run] table."
            )
        thought, text = self._without_calls(rest)
        if self._calling is None:
            return thought, text
        last, self.calls = self._calling.ended()
        return thought, text + last

    def _without_calls(self, parts: tuple[str, str]) -> tuple[str, str]:
        return parts if self._calling is None else (parts[0], self._calling.passed(parts[1]))

    def _noted(self, parts: tuple[str, str]) -> tuple[str, str]:
        self._thought = self._thought or bool(parts[0])
        self._said = self._said or bool(parts[1].strip())
        return parts

    def _spelled(self, piece: Piece, *, thoughts: bool) -> str:
        """The text, with markers that are control tokens and have no text of their own: those of reasoning only where
        there may be `thoughts`."""
        spelled = self._model.special_tokens.spelled
        markers = [
            text
            for token in piece.tokens
            if (text := spelled.get(token))
            and not self._model.piece(token)
            and ((thoughts and is_of_marker(text)) or (self._calling is not None and text in CALL_MARKERS))
        ]
        return "".join(markers) + piece.text
