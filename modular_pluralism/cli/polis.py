"""`pluralism community from-polis`: a pool of the opinion groups of a Polis conversation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from modular_pluralism.cli.call_options import JsonOption, PoolOption, examples, path_argument, path_option
from modular_pluralism.cli.output import counted, print_json, tell

if TYPE_CHECKING:
    from modular_pluralism.polis.write import PolisGroup, PolisPool

EXAMPLES = examples("""
pluralism community from-polis export/ --out town
pluralism ask "Roads should be wider." -p town/pool.toml -m distributional -o Agree -o Disagree -o Pass --voice record
""")


def from_polis(
    folder: Annotated[Path, path_argument(metavar="DIR", help="The folder of a conversation's export.")],
    out: Annotated[Path, path_option("--out", "-o", metavar="DIR", help="The new pool's folder.")],
    pool: PoolOption = "perspective",
    as_json: JsonOption = False,
) -> None:
    """Make a pool of the opinion groups of a Polis conversation.

    The export has comments.csv and participants-votes.csv. Each group becomes a community with the record of its votes,
    and is described by what sets it apart; --pool names a pool whose base LLM the new one has, too.
    """
    from modular_pluralism.polis.export import read_conversation
    from modular_pluralism.polis.write import write_polis_pool
    from modular_pluralism.pool import Pool

    models = Pool.load(pool)
    made = write_polis_pool(read_conversation(folder), models, out)
    if as_json:
        print_json(_told(made))
        return
    _print(made)


def _told(made: PolisPool) -> dict[str, Any]:
    groups = {
        group.name: {
            **group._asdict(),
            "traits": [each._asdict() | {"statement": made.statements[each.statement]} for each in group.traits],
        }
        for group in made.groups
    }
    return {"pool": str(made.pool), "topic": made.topic, "groups": groups, "left_out": list(made.left_out)}


def _print(made: PolisPool) -> None:
    tell(f"{made.pool} has the opinion groups of {made.topic}:")
    for group in made.groups:
        tell(f"  {group.name}: {_counted(group)}")
        if group.traits:
            tell(f"    {group.description}")
    for what in made.left_out:
        tell(f"Left out: {what}.", err=True)


def _counted(group: PolisGroup) -> str:
    apart = f"{counted(len(group.traits), 'opinion')} that set it apart; " if group.traits else ""
    return (
        f"{counted(group.participants, 'participant')}, {counted(group.statements, 'statement')}; {apart}"
        f"shares smoothed as by {group.strength:.1f} further votes"
    )
