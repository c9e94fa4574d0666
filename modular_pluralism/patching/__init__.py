"""A pool with and without one of its communities, on the same items."""
