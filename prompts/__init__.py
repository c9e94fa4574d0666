"""Every prompt as a text file, and the loader that checks them; `loader` describes the format."""

from __future__ import annotations

from modular_pluralism.prompts.loader import MODES, Prompt
from modular_pluralism.prompts.prompt_set import FolderFile, PromptSet, built_in_files, find_prompt, read_folder
from modular_pluralism.types import Style

__all__ = [
    "MODES",
    "FolderFile",
    "Prompt",
    "PromptSet",
    "Style",
    "built_in_files",
    "find_prompt",
    "read_folder",
]
