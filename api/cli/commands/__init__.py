"""The commands, one module each: what it takes, and in what order it does things."""
