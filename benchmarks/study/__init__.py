"""What communities that are trained on a population's own answers are worth: one command, all tables."""
