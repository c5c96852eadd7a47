"""The operator's settings: what they are, and where each value came from."""
