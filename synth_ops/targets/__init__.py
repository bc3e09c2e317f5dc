"""What copies are published to, one dialect a module."""
