"""What Inspect finds of ours: pools as its models."""
