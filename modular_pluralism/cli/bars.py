"""Option distributions as bars in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text

from modular_pluralism.cli.output import safe

_EIGHTHS = " ▏▎▍▌▋▊▉"
_WIDE = 4
"""With more options than this, options become rows and communities columns."""


def bar(share: float, width: int) -> str:
    """A bar of `width` characters for a share from 0 to 1, exact to an eighth of a character."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(width)


def distribution_table(
    options: Sequence[str], pooled: Sequence[float], communities: Mapping[str, Sequence[float]], width: int
) -> Table:
    """The pooled distribution beside each community's own; `width` is that of the terminal."""
    rows = {"all communities": pooled, **communities}
    if len(options) > _WIDE:
        return _options_as_rows(options, rows)
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("")
    for option in options:
        table.add_column(safe(option), justify="left", overflow="fold")
    room = width - max(map(len, rows)) - 2
    bar_width = max(4, min(24, room // len(options) - 9))
    for number, (name, distribution) in enumerate(rows.items()):
        style = "bold cyan" if number == 0 else ""
        cells = [Text(f"{bar(share, bar_width)} {share:5.1%}", style=style) for share in distribution]
        table.add_row(Text(name, style=style), *cells, end_section=number == 0)
    return table


def _options_as_rows(options: Sequence[str], rows: Mapping[str, Sequence[float]]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("", overflow="fold")
    for name in rows:
        table.add_column(name.replace("_", " "), justify="right")
    for at, option in enumerate(options):
        shares = [distribution[at] for distribution in rows.values()]
        first = Text(f"{bar(shares[0], 10)} {shares[0]:5.1%}", style="bold cyan")
        table.add_row(safe(option), first, *(Text(f"{share:.0%}") for share in shares[1:]))
    return table
