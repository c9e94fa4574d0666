"""What our checkpointers have in common: plain values only, and errors that say what to do."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any, Self

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
)


class PlainSaver(BaseCheckpointSaver[str]):
    """Stands before one of LangGraph's savers among the bases of a class, and is given a PlainSerializer there."""

    @abstractmethod
    def errors(self) -> AbstractContextManager[None]:
        """Turn what the database raises in a block into a StoreError."""

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """A block that writes."""
        with self.errors():
            yield

    def with_allowlist(self, extra_allowlist: object) -> Self:
        """Itself: no class is ever made from a checkpoint, so there is no list of allowed ones."""
        return self

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """See LangGraph."""
        with self.errors():
            return await super().aget_tuple(config)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """See LangGraph."""
        with self.errors():
            async for checkpoint in super().alist(config, filter=filter, before=before, limit=limit):
                yield checkpoint

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """See LangGraph."""
        async with self.writing():
            return await super().aput(config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """See LangGraph."""
        async with self.writing():
            await super().aput_writes(config, writes, task_id, task_path)

    async def adelete_thread(self, thread_id: str) -> None:
        """See LangGraph."""
        async with self.writing():
            await super().adelete_thread(thread_id)
