"""Training of a matching network."""
