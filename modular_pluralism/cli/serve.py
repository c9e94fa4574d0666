"""`pluralism serve`: OpenAI's API over a pool."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from modular_pluralism.cli.call_options import (
    PoolOption,
    PortOption,
    PromptsOption,
    ScoringOption,
    VoiceOption,
    examples,
    expand_groups,
    path_option,
)
from modular_pluralism.cli.output import tell, tell_of_tracing
from modular_pluralism.optional import optional

EXAMPLES = examples("""
pluralism serve
pluralism serve --pool my-pool.toml --port 9000 --grace 60
pluralism serve --host 0.0.0.0 --keys keys.txt
""")

_limit = partial(typer.Option, rich_help_panel="Limits")


@dataclass(frozen=True, kw_only=True)
class LimitOptions:
    """Every field of serving's Limits."""

    body: Annotated[int, _limit("--max-body", min=1024, help="Bytes of a request's body.")] = 1 << 20
    tokens: Annotated[int, _limit("--max-tokens", min=1, help="Tokens of an answer.")] = 4096
    choices: Annotated[int, _limit("--max-choices", min=1, help="Answers to one prompt (n).")] = 8
    stops: Annotated[int, _limit("--max-stops", min=0, help="Stop strings of a request.")] = 16
    stop_length: Annotated[int, _limit("--max-stop-length", min=1, help="Characters of a stop string.")] = 256
    top_logprobs: Annotated[int, _limit("--max-top-logprobs", min=0, help="Alternatives of a token.")] = 20
    prompts: Annotated[int, _limit("--max-prompts", min=1, help="Prompts in a call of /v1/completions.")] = 128
    inputs: Annotated[int, _limit("--max-inputs", min=1, help="Inputs in a call of /v1/embeddings.")] = 2048
    running: Annotated[int, _limit("--max-running", min=1, help="Requests worked on at once.")] = 64
    waiting: Annotated[int, _limit("--max-waiting", min=0, help="Requests that wait; more get 429.")] = 256
    per_key: Annotated[int, _limit("--max-per-key", min=1, help="Requests of one key at once.")] = 64


@expand_groups
def serve(
    limits: LimitOptions,
    pool: PoolOption = "perspective",
    prompts_folder: PromptsOption = None,
    host: Annotated[str, typer.Option(help="Where to listen; anything but loopback needs keys.")] = "127.0.0.1",
    port: PortOption = 8080,
    keys: Annotated[
        Path | None,
        path_option(
            metavar="FILE",
            help="API keys, one a line; or set the environment variable MODULAR_PLURALISM_KEYS.",
            show_default=False,
        ),
    ] = None,
    score: ScoringOption = "rotate",
    voice: VoiceOption = "comment",
    grace: Annotated[float, typer.Option(min=0, help="Seconds for running answers when the server is to stop.")] = 30.0,
    log_prompts: Annotated[bool, typer.Option("--log-prompts", help="Write what is asked into the log.")] = False,
) -> None:
    """Serve OpenAI's API: the communities, the base LLM, and the modes as models.

    Any client of OpenAI's API gets pluralistic answers by asking for the model `pluralism/overton` at this address.
    SIGTERM or Ctrl-C stops the server once running answers have ended.
    """
    for module in ("fastapi", "uvicorn", "prometheus_client"):
        optional(module, "serve", "`pluralism serve`")
    # Nobody else tells an operator why a community was missing.
    logging.getLogger("modular_pluralism.nodes").propagate = True
    from modular_pluralism.pool import Pool
    from modular_pluralism.prompts import PromptSet
    from modular_pluralism.serving.keys import load_keys
    from modular_pluralism.serving.limits import Limits
    from modular_pluralism.serving.request_log import RequestLog
    from modular_pluralism.serving.server import serve as run

    tell_of_tracing()
    run(
        Pool.load(pool),
        PromptSet.load(prompts_folder),
        scoring=score,
        voice=voice,
        keys=load_keys(keys),
        limits=Limits(**vars(limits)),
        host=host,
        port=port,
        grace=grace,
        log=RequestLog(prompts=log_prompts),
        ready=lambda address, catalogue: tell(f"Serving {', '.join(catalogue.ids)} at {address}"),
    )
