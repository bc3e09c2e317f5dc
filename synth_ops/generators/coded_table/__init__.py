"""Tables for models from elsewhere, which see codes and shares of a range, and never a value of the source.

`columns` codes a column and decodes it, `table` does so for tables and makes what a model does not, `problems` says
what such a model can't learn, `settings` checks what can be set.
"""
