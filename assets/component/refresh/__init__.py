"""The project of one component."""
