"""Embedded llama.cpp: one engine thread per loaded model with continuous batching, and its LangChain chat model."""

from modular_pluralism.llama.chat_model import ChatLlama
from modular_pluralism.llama.engine import Engine, EngineSettings
from modular_pluralism.llama.generation import GenerationRequest
from modular_pluralism.llama.sampling import Sampling
from modular_pluralism.llama.shared_engines import close_engines, shared_engine

__all__ = [
    "ChatLlama",
    "Engine",
    "EngineSettings",
    "GenerationRequest",
    "Sampling",
    "close_engines",
    "shared_engine",
]
