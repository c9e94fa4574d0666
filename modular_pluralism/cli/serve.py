"""`pluralism serve`: OpenAI's API over a pool."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modular_pluralism.cli.call_options import PoolOption, PromptsOption, ScoringOption, VoiceOption
from modular_pluralism.optional import optional

if TYPE_CHECKING:
    from modular_pluralism.serving.catalogue import Catalogue

EXAMPLES = """
**Examples**

`pluralism serve`

`pluralism serve --pool my-pool.toml --port 9000 --grace 60`

`pluralism serve --host 0.0.0.0 --keys keys.txt`
"""

_LIMITS = "Limits"


def serve(
    pool: PoolOption = "perspective",
    prompts: PromptsOption = None,
    host: Annotated[
        str, typer.Option("--host", help="Where to listen; anything but loopback needs keys.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 8080,
    keys: Annotated[
        Path | None,
        typer.Option(
            "--keys",
            metavar="FILE",
            help="API keys, one a line; or set the environment variable MODULAR_PLURALISM_KEYS.",
            show_default=False,
        ),
    ] = None,
    score: ScoringOption = "rotate",
    voice: VoiceOption = "comment",
    grace: Annotated[
        float, typer.Option("--grace", min=0, help="Seconds for running answers when the server is to stop.")
    ] = 30.0,
    log_prompts: Annotated[bool, typer.Option("--log-prompts", help="Write what is asked into the log.")] = False,
    max_body: Annotated[
        int, typer.Option("--max-body", min=1024, help="Bytes of a request's body.", rich_help_panel=_LIMITS)
    ] = 1 << 20,
    max_tokens: Annotated[
        int, typer.Option("--max-tokens", min=1, help="Tokens of an answer.", rich_help_panel=_LIMITS)
    ] = 4096,
    max_choices: Annotated[
        int, typer.Option("--max-choices", min=1, help="Answers to one prompt (n).", rich_help_panel=_LIMITS)
    ] = 8,
    max_stops: Annotated[
        int, typer.Option("--max-stops", min=0, help="Stop strings of a request.", rich_help_panel=_LIMITS)
    ] = 16,
    max_stop_length: Annotated[
        int, typer.Option("--max-stop-length", min=1, help="Characters of a stop string.", rich_help_panel=_LIMITS)
    ] = 256,
    max_top_logprobs: Annotated[
        int, typer.Option("--max-top-logprobs", min=0, help="Alternatives of a token.", rich_help_panel=_LIMITS)
    ] = 20,
    max_prompts: Annotated[
        int, typer.Option("--max-prompts", min=1, help="Prompts in a call of /v1/completions.", rich_help_panel=_LIMITS)
    ] = 128,
    max_running: Annotated[
        int, typer.Option("--max-running", min=1, help="Requests worked on at once.", rich_help_panel=_LIMITS)
    ] = 64,
    max_waiting: Annotated[
        int, typer.Option("--max-waiting", min=0, help="Requests that wait; more get 429.", rich_help_panel=_LIMITS)
    ] = 256,
    max_per_key: Annotated[
        int, typer.Option("--max-per-key", min=1, help="Requests of one key at once.", rich_help_panel=_LIMITS)
    ] = 64,
) -> None:
    """Serve OpenAI's API: the communities, the base LLM, and the modes as models.

    Any client of OpenAI's API gets pluralistic answers by asking for the model `pluralism/overton` at this address.
    SIGTERM or Ctrl-C stops the server once running answers have ended.
    """
    for module in ("fastapi", "uvicorn", "prometheus_client"):
        optional(module, "serve", "`pluralism serve`")
    from modular_pluralism.pool import Pool
    from modular_pluralism.prompts import PromptSet
    from modular_pluralism.serving.keys import load_keys
    from modular_pluralism.serving.limits import Limits
    from modular_pluralism.serving.request_log import RequestLog
    from modular_pluralism.serving.server import serve as run

    run(
        Pool.load(pool),
        PromptSet.load(prompts),
        scoring=score,
        voice=voice,
        keys=load_keys(keys),
        limits=Limits(
            body=max_body,
            tokens=max_tokens,
            choices=max_choices,
            stops=max_stops,
            stop_length=max_stop_length,
            top_logprobs=max_top_logprobs,
            prompts=max_prompts,
            running=max_running,
            waiting=max_waiting,
            per_key=max_per_key,
        ),
        host=host,
        port=port,
        grace=grace,
        log=RequestLog(prompts=log_prompts),
        ready=_say_ready,
    )


def _say_ready(address: str, catalogue: Catalogue) -> None:
    typer.echo(f"Serving {', '.join(catalogue.ids)} at {address}")
