"""A small task for Inspect, to try a pool as its model."""

from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import choice
from inspect_ai.solver import multiple_choice


@task
def geography() -> Task:
    """One question with one right answer."""
    sample = Sample(input="On which continent is Kenya?", choices=["Africa", "Asia", "Europe"], target="A")
    return Task(dataset=[sample], solver=multiple_choice(), scorer=choice())
