"""What one request, one key and the server as a whole may ask for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Each is an option of `pluralism serve`."""

    body: int = 1 << 20
    """Bytes of a request's body."""
    tokens: int = 4096
    """The most that max_tokens may ask for."""
    choices: int = 8
    """`n`: answers to one prompt."""
    stops: int = 16
    """Stop strings of a request."""
    stop_length: int = 256
    """Characters of a stop string."""
    top_logprobs: int = 20
    """Alternatives reported for each token."""
    prompts: int = 128
    """Prompts in one call of /v1/completions."""
    running: int = 64
    """Requests that are worked on at once."""
    waiting: int = 256
    """Requests that wait for their turn; more get status 429."""
    per_key: int = 64
    """Requests of one API key that run or wait at once; more get status 429."""
