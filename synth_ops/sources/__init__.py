"""What snapshots are taken of, one dialect a module."""
