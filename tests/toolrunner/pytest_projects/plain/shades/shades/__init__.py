"""How many bytes an image has."""
