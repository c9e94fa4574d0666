"""A pool whose communities are the opinion groups of a Polis conversation."""
