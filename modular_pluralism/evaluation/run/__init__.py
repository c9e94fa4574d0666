"""Running methods over a task file: the harness, the journal, and the folder that everything is written to."""
