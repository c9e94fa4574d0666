"""Contracts, ballots and social choice: pure functions, no model in sight."""
