"""What the plugin beside it multiplies by."""

FACTOR = 3
