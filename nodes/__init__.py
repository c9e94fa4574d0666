"""What happens inside one node of a graph. A node never knows which graph it stands in."""
