"""How results look to a person, and to programs that read the command's JSON."""
