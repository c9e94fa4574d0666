"""What is measured of one answer: distances, coverage, stances, and what judges say."""
