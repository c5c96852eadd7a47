"""The scanner of the source, and the proof that it sees what it says it sees."""
