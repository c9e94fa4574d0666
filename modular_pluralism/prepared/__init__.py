"""Prepared files: the same weights stored in the format that this machine reads fastest."""

# Before any module here imports llama_cpp: libgomp reads its settings when it is loaded with that, and this sets them.
import modular_pluralism.llama  # noqa: F401
