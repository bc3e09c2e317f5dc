"""A PostgreSQL database as a target.

The protocol, one module a part:

1. `guard`: the database carries a marker of its own; the role may do all that follows.
2. `history`: what was published, and which generation is live, in the schema `synth_ops`; one publisher at a time.
3. `draft`, `schema`, `declarations`, `loading`, `staying`: the new generation is built in a schema of its own, a home;
   `staging` lets many workers do it, a table each at a time.
4. `carry_over`: owners, grants, policies, triggers, comments and settings of the live tables.
5. `swap`: one short transaction takes the live tables to their home and the new ones to where readers look.

Tables move, schemas stay: functions, types, extensions and tables that are not the copy's live on in theirs.
"""
