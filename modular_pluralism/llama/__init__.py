"""Embedded llama.cpp: one engine thread per loaded model with continuous batching, and its LangChain chat model."""

# ruff: noqa: E402 - libgomp reads its settings when it is loaded, with the first import of llama_cpp below.
from modular_pluralism.llama.patient_threads import make_threads_patient

make_threads_patient()

from modular_pluralism.llama.chat_model import ChatLlama
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
    "Sampling",
    "close_engines",
    "shared_engine",
]
