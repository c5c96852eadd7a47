"""What goes into a call and what comes out of it: checked, converted, strict JSON."""
