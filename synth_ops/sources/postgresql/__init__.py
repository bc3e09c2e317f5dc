"""A PostgreSQL database as a source. Needs the extra `postgresql`."""
