"""Command-line options of the subcommands that keep runs or go on with them."""

from __future__ import annotations

from typing import Annotated

import typer

StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="PLACE",
        help="Where runs are kept: a file or a postgresql:// address. [default: MODULAR_PLURALISM_STORE, else a file "
        "of yours]",
        show_default=False,
    ),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print the answer only.")]
