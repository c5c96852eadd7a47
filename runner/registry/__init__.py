"""The plugins that are known, their states and their counts."""
