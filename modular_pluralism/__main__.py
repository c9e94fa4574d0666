"""`python -m modular_pluralism` is the `pluralism` command."""

from modular_pluralism.cli.app import main

main()
