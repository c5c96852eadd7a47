"""The registry contract: registration, look-up, states, counts, under threads too."""
