"""The built-in pools, one TOML file each; `modular_pluralism.pool` reads them."""

BUILT_IN_POOLS: tuple[str, ...] = ("perspective", "culture", "mixed", "town")
"""Names that `Pool.load` knows without a path. `town` is what `pluralism community from-polis` makes of
docs/example_polis, a conversation that is made up."""

PAPER_POOLS: tuple[str, ...] = ("paper-perspective", "paper-culture")
"""Further names that it knows, of pools that run once `pluralism community import --pool NAME` has fetched them."""

POOL_VARIABLE = "MODULAR_PLURALISM_POOL"
"""Environment variable with the pool of commands and servers where none is named: a built-in name, or a file's path."""
