"""The graphs as assistants of a LangGraph server, as `langgraph.json` lists them."""

from modular_pluralism.assistants.factories import distributional, overton, pluralism, steerable

__all__ = ["distributional", "overton", "pluralism", "steerable"]
