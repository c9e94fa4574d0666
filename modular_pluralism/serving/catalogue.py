"""Which models are served, and who answers for each."""

from __future__ import annotations

from functools import partial
from typing import Any

from modular_pluralism.llama import ChatLlama
from modular_pluralism.models.calls import Caller
from modular_pluralism.models.pool_models import PoolModel, PoolModels
from modular_pluralism.modes import modes
from modular_pluralism.pool import Pool
from modular_pluralism.prompts import PromptSet
from modular_pluralism.serving.answers import Talker
from modular_pluralism.serving.api_error import ApiError
from modular_pluralism.serving.limits import Limits
from modular_pluralism.serving.mode_talk import ModeTalk
from modular_pluralism.serving.model_talk import ModelTalk
from modular_pluralism.types import Scoring, Voices

BASE = "base"


class Catalogue:
    """The models of a pool: `base`, `community/NAME`, and the modes as `pluralism/MODE`."""

    def __init__(
        self, pool: Pool, prompts: PromptSet, scoring: Scoring, limits: Limits, voice: Voices = "comment"
    ) -> None:
        self.pool = pool
        self.models = PoolModels(pool)
        self.models.check()
        self.caller = Caller(attempts=pool.run.attempts, deadline=pool.run.deadline)
        self._talkers: dict[str, Talker] = {
            BASE: ModelTalk(self.models.base, None, self.caller, limits.tokens),
            **{
                f"community/{name}": ModelTalk(
                    partial(self.models.community, name),
                    pool.persona_text(name, prompts),
                    self.caller,
                    limits.tokens,
                )
                for name in pool.communities
                if self.models.takes_messages(name)
            },
            **{
                f"pluralism/{name}": ModeTalk(mode, pool, self.models, prompts, scoring, voice)
                for name, mode in modes().items()
            },
        }

    @property
    def ids(self) -> list[str]:
        """What a request's `model` may be."""
        return list(self._talkers)

    @property
    def completing(self) -> list[str]:
        """Those that /v1/completions takes: the models, not the modes."""
        return [model for model in self.ids if not model.startswith("pluralism/")]

    @property
    def embedding(self) -> list[str]:
        """Those that /v1/embeddings takes: the base LLM, and the pool's models by their names."""
        return list(dict.fromkeys([BASE, *self.pool.models]))

    def embedding_model(self, model: str) -> str:
        """The name in the pool of a model that is asked for vectors.

        Raises:
            ApiError: 404, there is no such model; 400, it is a community or a mode.
        """
        if model == BASE:
            return self.pool.base
        if model in self._talkers:
            raise ApiError(
                400,
                f"{model} gives no vectors; use one of {', '.join(self.embedding)}.",
                param="model",
                code="text_only",
            )
        self._check_among(model, self.embedding)
        return model

    def talker(self, model: str) -> Talker:
        """Who answers chats.

        Raises:
            ApiError: 404, there is no such model.
        """
        self.check(model)
        return self._talkers[model]

    def model(self, model: str) -> PoolModel:
        """The model behind an id; to be called in the event loop that uses it.

        Raises:
            ApiError: 404, there is no such model; 400, it is a mode.
        """
        self.check(model)
        if model not in self.completing:
            raise ApiError(
                400, f"{model} answers chats only; send it to /v1/chat/completions.", param="model", code="chat_only"
            )
        return self.models.base() if model == BASE else self.models.community(model.removeprefix("community/"))

    def check(self, model: str) -> None:
        """Raise ApiError, 404, unless there is such a model."""
        self._check_among(model, self.ids)

    def _check_among(self, model: str, models: list[str]) -> None:
        if model not in models:
            raise ApiError(
                404,
                f"There is no model {model[:100]!r} here; use one of {', '.join(models)}.",
                param="model",
                code="model_not_found",
            )

    def load(self) -> list[ChatLlama]:
        """Load every embedded model's weights, so that the first request need not wait; the models.

        Raises:
            ModelLoadError: one cannot be loaded.
        """
        opened = [self.model(model).chat for model in self.completing]
        embedded = [chat for chat in opened if isinstance(chat, ChatLlama)]
        for chat in embedded:
            _ = chat.engine
        return embedded

    def listed(self, model: str, created: int) -> dict[str, Any]:
        """The model as OpenAI lists it."""
        name = model.removeprefix("community/")
        described = self.pool.communities[name].description if model != name else None
        return {
            "id": model,
            "object": "model",
            "created": created,
            "owned_by": self.pool.name,
            **({"description": described} if described else {}),
        }
