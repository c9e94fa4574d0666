"""What results depend on, as plain values that a journal keeps beside them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from langchain_core.runnables import Runnable

from modular_pluralism.hardware import Hardware
from modular_pluralism.llama.chat_model import ChatLlama
from modular_pluralism.llama.gguf_parts import size_of
from modular_pluralism.models.pool_models import HasIdentity, PoolModels
from modular_pluralism.pool import EmbeddedModel, ModelConfig, Pool
from modular_pluralism.prepared.entry import file_hash
from modular_pluralism.prompts import PromptSet


def pool_facts(pool: Pool, prompts: PromptSet) -> Any:
    """The pool for a journal: without what cannot change a result, and with its personas' and templates' texts."""
    models = {name: _model_facts(model) for name, model in pool.models.items()}
    communities = {name: community.model_dump(mode="json") for name, community in pool.communities.items()}
    personas = {name: pool.persona_text(name, prompts) for name in pool.communities}
    run = pool.run.model_dump(mode="json", exclude={"deadline"})
    content = {"base": pool.base, "models": models, "communities": communities, "personas": personas, "run": run}
    if templates := pool.template_texts():
        content["templates"] = templates
    return f"{pool.name} {digest(content)}"


def _model_facts(model: ModelConfig) -> Any:
    unimportant = {"memory", "slots", "threads", "queue", "api_key_env"}
    if isinstance(model, EmbeddedModel):
        return model.model_dump(mode="json", exclude=unimportant | set(Hardware.model_fields)) | model.hardware.computed
    return model.model_dump(mode="json", exclude=unimportant)


def model_files(pool: Pool, models: PoolModels) -> list[str]:
    """The weights, adapters and records that are used: a file that was replaced gives other results."""
    opened = [models.base(), *(models.community(name) for name in pool.communities if models.takes_messages(name))]
    chats = [model.chat for model in opened if isinstance(model.chat, ChatLlama)]
    adapters = [chat.adapter.path for chat in chats if chat.adapter is not None]
    weights = {f"{file.name} {size_of(file)}" for file in (chat.file for chat in chats)}
    records = [file for name in pool.communities if (file := pool.answers_file(name)) is not None]
    # Adapters that were trained alike have the same size, and are quickly read, as records are.
    return sorted(weights | {f"{file.name} {file_hash(file)[:16]}" for file in (*adapters, *records)})


def given_models(models: Mapping[str, Runnable[Any, Any]]) -> dict[str, list[Any]]:
    """What is known of models that were given: their own word, or their class and what they call their model."""
    return {name: _known(model) for name, model in models.items()}


def _known(model: Runnable[Any, Any]) -> list[Any]:
    # Of what wraps a chat model, its identity would be asked, which is not all that it depends on.
    if isinstance(model, HasIdentity) and hasattr(type(model), "pluralism_identity"):
        return model.pluralism_identity()
    called = getattr(model, "model_name", getattr(model, "model", None))
    return [type(model).__module__, type(model).__qualname__, called if isinstance(called, str) else None]


def digest(content: Any) -> str:
    """A short text that is the same for the same plain values."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
