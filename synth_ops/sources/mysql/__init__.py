"""A MySQL or MariaDB database as a source. Needs the extra `mysql`."""
