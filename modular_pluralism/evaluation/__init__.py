"""Measuring pluralism on the paper's tasks: task files, methods, measures with intervals, and reports."""
