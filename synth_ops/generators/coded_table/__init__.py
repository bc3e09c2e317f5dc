"""Tables for models from elsewhere, which see codes and ranks, and never a value of the source.

`columns` codes a column and decodes it, `table` does so for tables and makes what a model does not, `learning` is what
models of one table begin and end with, `problems` says what they can't learn, `settings` checks what can be set.
"""
