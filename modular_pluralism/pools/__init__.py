"""The built-in pools, one TOML file each; `modular_pluralism.pool` reads them."""

POOL_VARIABLE = "MODULAR_PLURALISM_POOL"
"""Environment variable with the pool of commands and servers where none is named: a built-in name, or a file's path."""
