"""A MySQL or MariaDB database as a target.

A generation is built beside the live tables, under names of its own (`synth_ops_7_1`). One RENAME TABLE of many tables,
which the server makes all or nothing, takes the live ones to their own names and the new ones to where readers look.
Views, grants and routines find tables by their names, and follow by themselves.

The same RENAME moves the pointer, an empty table whose name says what is live: `synth_ops_live_<swap>_<generation>`. A
run that began before somebody else's swap finds no table of the name it knows, and renames nothing.
"""
