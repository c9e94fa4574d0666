"""Embedded llama.cpp: one engine thread per loaded model with continuous batching, and its LangChain chat model."""

import os

# llama.cpp is usually built with GNU OpenMP, whose threads spin for milliseconds at each of the hundreds of barriers of
# a decode step. On an idle machine that is harmless. Where another process wants a core, the spinning thread holds up
# the very thread that it waits for: two engines on two cores ran six to eight times slower than with a short spin,
# which costs nothing measurable on an idle machine. A user who has set how threads wait keeps that.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

from modular_pluralism.llama.chat_model import ChatLlama
from modular_pluralism.llama.embeddings import LlamaEmbeddings
from modular_pluralism.llama.engine import Engine
from modular_pluralism.llama.generation import GenerationRequest
from modular_pluralism.llama.sampling import Sampling
from modular_pluralism.llama.settings import EngineSettings
from modular_pluralism.llama.shared_engines import close_engines, shared_engine

__all__ = [
    "ChatLlama",
    "Engine",
    "EngineSettings",
    "GenerationRequest",
    "LlamaEmbeddings",
    "Sampling",
    "close_engines",
    "shared_engine",
]
