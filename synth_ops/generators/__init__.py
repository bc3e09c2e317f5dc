"""Methods that learn a database and sample a copy of it."""
