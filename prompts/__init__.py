"""Every prompt as a text file, and the loader that checks them; `loader` describes the format."""

from __future__ import annotations

from modular_pluralism.prompts.loader import HEADER_KEYS, MODES, Prompt, PromptSet, Section, Style

__all__ = ["HEADER_KEYS", "MODES", "Prompt", "PromptSet", "Section", "Style"]
