"""How long it takes to tally the ballots of many members on many candidates, by every rule and without each member.

examples:
  python -m benchmarks.tally
  python -m benchmarks.tally --members 1000 --candidates 10

"All rules, leave one out" is who wins under each of the rules, and who would without each of the members in turn. A
whole tally is that for one rule, with all that is said beside it. Processor time is told as well: it does not grow when
others use the machine.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from benchmarks.pairing import interval
from modular_pluralism.societal.choice import choice_rules
from modular_pluralism.societal.sensitivity import pivotal
from modular_pluralism.societal.table import Table
from modular_pluralism.societal.tally import tally


def main() -> None:
    """Print milliseconds: medians over rounds, with 95 % intervals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=100, metavar="N", help="how many give ballots (default: 100)")
    parser.add_argument("--candidates", type=int, default=20, metavar="N", help="how many are judged (default: 20)")
    parser.add_argument("--rounds", type=int, default=11, metavar="N", help="tables, each another one (default: 11)")
    given = parser.parse_args()
    rules = choice_rules()
    tables = [_drawn(given.members, given.candidates, seed) for seed in range(given.rounds + 1)]

    def all_rules(table: Table) -> None:
        scores, weights = table.filled(), table.weights[None, :]
        for rule in rules.values():
            rule.winners(scores, weights)
            pivotal(table, rule)

    print(f"{given.members} members, {given.candidates} candidates, {given.rounds} rounds")
    _time("all rules, leave one out", all_rules, tables)
    for name in rules:
        _time(f"a whole tally by {name}", partial(tally, rule=name), tables)


def _drawn(members: int, candidates: int, seed: int) -> Table:
    draw = np.random.default_rng(seed)
    names = tuple(f"m{at}" for at in range(members)), tuple(f"c{at}" for at in range(candidates))
    return Table(*names, draw.random((members, candidates)), draw.random(members))


def _time(name: str, work: Callable[[Table], object], tables: list[Table]) -> None:
    """Of the first table, nothing is counted."""
    work(tables[0])
    clock, processor = [], []
    for table in tables[1:]:
        began = time.perf_counter(), time.process_time()
        work(table)
        clock.append(1000 * (time.perf_counter() - began[0]))
        processor.append(1000 * (time.process_time() - began[1]))
    low, high = interval(clock) or (min(clock), max(clock))
    print(
        f"{name:28} {statistics.median(clock):8.1f} ms ({low:.1f} to {high:.1f}), "
        f"{statistics.median(processor):.1f} ms of a processor",
        flush=True,
    )


if __name__ == "__main__":
    main()
