"""What a copy must pass: evidence, and the judge."""
