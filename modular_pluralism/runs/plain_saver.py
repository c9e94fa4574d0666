"""What our checkpointers have in common: plain values only, and errors that say what to do."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from typing import Any, Self
from uuid import UUID

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
)
from langgraph.checkpoint.base import id as checkpoint_ids


class PlainSaver(BaseCheckpointSaver[str]):
    """Stands before one of LangGraph's savers among the bases of a class, and is given a PlainSerializer there."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._writes: dict[asyncio.Future[None], str] = {}

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
            found = await super().aget_tuple(config)
        if found is not None:
            _come_after(found)
        return found

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
                _come_after(checkpoint)
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
        written = asyncio.get_running_loop().create_future()
        self._writes[written] = config["configurable"]["thread_id"]
        try:
            async with self.writing():
                await super().aput_writes(config, writes, task_id, task_path)
            written.set_result(None)
        except Exception as error:
            written.set_exception(error)
            written.exception()  # whether or not somebody waits for it
            raise
        finally:
            written.cancel()  # does nothing where it is done
            del self._writes[written]

    async def settled(self, thread: str) -> None:
        """Wait until everything is in the store that a thread's nodes have written so far: whoever tells of a node's
        update while the graph runs waits for it first, since LangGraph tells of it while it is being written.

        Raises:
            StoreError: it could not be written.
        """
        await asyncio.sleep(0)  # each write is a task that has been made, but may not have begun
        if writes := [write for write, of in self._writes.items() if of == thread]:
            await asyncio.wait(writes)
            for write in writes:
                if not write.cancelled():
                    write.result()

    async def adelete_thread(self, thread_id: str) -> None:
        """See LangGraph."""
        async with self.writing():
            await super().adelete_thread(thread_id)


def _come_after(kept: CheckpointTuple) -> None:
    """Have all checkpoints that this process makes come after that one, whatever its clock says: their ids begin with
    the time, and the one with the highest id is the latest. LangGraph itself sees to that within one process."""
    with suppress(ValueError):  # an application may have ids of its own
        made = UUID(kept.config["configurable"]["checkpoint_id"])
        if made.version == 6:
            ticks = (made.int >> 80) << 12 | (made.int >> 64) & 0xFFF
            ids: Any = checkpoint_ids  # which types it by its first value, None
            ids._last_v6_timestamp = max(ticks, ids._last_v6_timestamp or 0)
