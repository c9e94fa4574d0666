"""What Inspect finds of ours: pools as its models, and our measures as its scorers."""

from modular_pluralism.evaluation.inspect.scorers import js_distance, value_coverage

__all__ = ["js_distance", "value_coverage"]
