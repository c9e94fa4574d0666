"""The `pluralism` command."""
