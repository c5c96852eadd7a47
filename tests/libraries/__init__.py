"""Plugins on the libraries that people use, in their newest versions, through the real sandbox."""
