"""The built-in pools, one TOML file each; `modular_pluralism.pool` reads them."""
