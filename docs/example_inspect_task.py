"""Small tasks for Inspect, to try a pool as its model."""

from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import choice
from inspect_ai.solver import multiple_choice

from modular_pluralism.evaluation.inspect import js_distance


@task
def geography() -> Task:
    """One question with one right answer."""
    sample = Sample(input="On which continent is Kenya?", choices=["Africa", "Asia", "Europe"], target="A")
    return Task(dataset=[sample], solver=multiple_choice(), scorer=choice())


@task
def survey() -> Task:
    """One question that people have answered differently; the shares are invented."""
    shares = {"Yes": 0.62, "No": 0.27, "It depends": 0.11}
    sample = Sample(
        input="Should wages be public?",
        choices=list(shares),
        metadata={"gold_distribution": list(shares.values())},
    )
    return Task(dataset=[sample], solver=multiple_choice(), scorer=js_distance())
