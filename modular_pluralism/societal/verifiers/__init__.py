"""What rules are verified by without any model: one file each, listed in `registry`."""
