"""The contract of governed execution: one way in, checked both ways, structured errors, counted."""
