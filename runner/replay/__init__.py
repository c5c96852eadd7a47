"""Failed calls that are kept so that they can be run again."""
