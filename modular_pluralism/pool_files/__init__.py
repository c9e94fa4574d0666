"""Editing the pool files of a user; what is not meant to change stays as it is, comments and line ends included."""

from __future__ import annotations

from modular_pluralism.pool_files.communities import add_community, remove_community

__all__ = ["add_community", "remove_community"]
