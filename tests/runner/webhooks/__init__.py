"""What is posted when jobs end, to receivers that really listen."""
