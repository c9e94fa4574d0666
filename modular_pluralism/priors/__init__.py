"""Weights of the communities, fitted on answered questions."""
