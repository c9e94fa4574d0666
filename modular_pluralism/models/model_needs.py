"""What each model of a pool will take, and where it will lie, before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from modular_pluralism.errors import PluralismError
from modular_pluralism.llama.chat_model import ChatLlama
from modular_pluralism.llama.gguf_header import read_header
from modular_pluralism.llama.memory import HOST, MemoryPlan, plan_memory, plan_weights
from modular_pluralism.llama.model_file import check_fits
from modular_pluralism.llama.settings import EngineSettings
from modular_pluralism.llama.slot_budget import affordable_slots
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.pool import Pool
from modular_pluralism.prepared.formats import name_of_file_type


@dataclass(frozen=True)
class ModelNeeds:
    """What is known of one [models.*] table of a pool.

    Of an embedded model: its `file` (the first of a split one), `settings`, `plan`, and `slots`, how many sequences
    there is memory for (0 of an embedding model, which nobody asks for a text); `shares` names the model whose weights
    it uses, if any. A remote one has none of these.
    `problem` says why it cannot be opened.
    """

    name: str
    file: Path | None = None
    architecture: str = ""
    quantisation: str = ""
    settings: EngineSettings | None = None
    plan: MemoryPlan | None = None
    slots: int = 0
    shares: str | None = None
    problem: str | None = None


def model_needs(pool: Pool) -> list[ModelNeeds]:
    """What each model of a pool needs, in the pool's order. Nothing is loaded, fetched or asked of an endpoint."""
    models = PoolModels(pool, download=False)
    engines: dict[EngineSettings, str] = {}
    answering = {pool.base, *(community.model for community in pool.communities.values())}
    return [_needs(name, models, engines, answers=name in answering) for name in pool.models]


def _needs(name: str, models: PoolModels, engines: dict[EngineSettings, str], *, answers: bool) -> ModelNeeds:
    needs = ModelNeeds(name)
    try:
        chat = models.named(name).chat
        if not isinstance(chat, ChatLlama):
            return needs
        settings = chat.engine_settings
        header = read_header(chat.file)
        needs = replace(
            needs,
            file=chat.file,
            architecture=header.text("general.architecture"),
            quantisation=name_of_file_type(header.text("general.file_type")),
            settings=settings,
            shares=engines.get(settings),
        )
        engines.setdefault(settings, name)
        vectors_alone = not answers and bool(header.values.get(f"{needs.architecture}.pooling_type"))
        plan = plan_weights(settings) if vectors_alone else plan_memory(settings)
        needs = replace(needs, plan=plan)
        check_fits(settings.gguf, plan.on(HOST).weights)
        return (
            needs
            if vectors_alone
            else replace(needs, slots=affordable_slots(settings, plan, settings.context, loaded=False))
        )
    except PluralismError as error:
        return replace(needs, problem=str(error))
