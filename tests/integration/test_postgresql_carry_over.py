"""What users gave to the live tables, and what they built on them, is there after a swap as it was before."""

from __future__ import annotations

import pytest

from synth_ops.errors import PublishRefusedError
from synth_ops.metadata import Column, ForeignKey, Metadata, Table
from synth_ops.ports import PublishRules
from synth_ops.testing.contracts import unheard
from synth_ops.testing.warehouses import write_table

ORGS = Table(
    name="orgs",
    path=("public", "orgs"),
    columns=(Column(name="id", type="INTEGER", nullable=False), Column(name="name", type="VARCHAR")),
    primary_key=("id",),
)
USERS = Table(
    name="users",
    path=("public", "users"),
    columns=(
        Column(name="id", type="INTEGER", nullable=False),
        Column(name="org id", type="INTEGER"),
        Column(name="mood", type="VARCHAR"),
        Column(name="tags", type="VARCHAR[]"),
    ),
    primary_key=("id",),
    foreign_keys=(ForeignKey(columns=("org id",), parent="orgs", parent_columns=("id",)),),
)
METADATA = Metadata(tables=(ORGS, USERS))
MIGRATIONS = """
CREATE ROLE {role}_owner; CREATE ROLE {role}_reader; CREATE ROLE {role}_other;
CREATE TYPE public.mood AS ENUM ('sad', 'ok', 'happy');
CREATE FUNCTION public.stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE FUNCTION public.twice(a integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT a * 2';
CREATE TABLE public.orgs (
    id serial PRIMARY KEY, name varchar(40) DEFAULT 'nobody' CONSTRAINT "a name's" CHECK (length(name) < 40)
) WITH (fillfactor = 70);
CREATE TABLE public.users (
    id integer GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME public."user numbers" INCREMENT 3),
    "org id" integer REFERENCES public.orgs ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    mood public.mood, tags text[] DEFAULT '{{}}',
    doubled integer GENERATED ALWAYS AS (public.twice(id)) STORED,
    CONSTRAINT "the key" PRIMARY KEY (id)
);
CREATE INDEX "by org; --" ON public.users ("org id", (abs("org id"))) WHERE id > 0;
CREATE UNIQUE INDEX by_twice ON public.users (public.twice(id));
CREATE STATISTICS public.moods (ndistinct) ON "org id", mood FROM public.users;
ALTER TABLE public.users ALTER COLUMN mood SET STATISTICS 500;
ALTER TABLE public.users REPLICA IDENTITY USING INDEX "the key";
CREATE TRIGGER stamp BEFORE INSERT ON public.users FOR EACH ROW EXECUTE FUNCTION public.stamp();
ALTER TABLE public.users DISABLE TRIGGER stamp;
CREATE RULE quiet AS ON DELETE TO public.orgs DO INSTEAD UPDATE public.orgs SET name = 'gone' WHERE id = OLD.id;
ALTER TABLE public.users ENABLE ROW LEVEL SECURITY;
CREATE POLICY "own org" ON public.users AS RESTRICTIVE FOR SELECT TO {role}_reader, {role}_other
    USING (EXISTS (SELECT FROM public.orgs WHERE orgs.id = users."org id"));
COMMENT ON TABLE public.users IS 'it''s the users';
COMMENT ON COLUMN public.users.mood IS 'how they are';
COMMENT ON CONSTRAINT "the key" ON public.users IS 'the key';
COMMENT ON INDEX public."by org; --" IS 'by org';
GRANT SELECT ON public.users TO {role}_reader WITH GRANT OPTION;
GRANT UPDATE (mood) ON public.users TO {role}_other;
GRANT USAGE ON SEQUENCE public."user numbers" TO {role}_other;
GRANT INSERT ON public.orgs TO PUBLIC;
ALTER TABLE public.orgs OWNER TO {role}_owner;
CREATE VIEW public.happy WITH (security_barrier = true) AS
    SELECT u.*, o.name FROM public.users u JOIN public.orgs o ON o.id = u."org id" WHERE u.mood = 'happy';
GRANT SELECT ON public.happy TO {role}_reader;
COMMENT ON VIEW public.happy IS 'the happy ones';
CREATE VIEW public.happiest AS SELECT count(*) AS n FROM public.happy;
CREATE FUNCTION public.population() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM public.users; END;
"""
ELSEWHERE = """
CREATE SCHEMA reporting;
CREATE VIEW reporting.moods AS SELECT mood, count(*) AS n FROM public.users GROUP BY mood;
CREATE TABLE reporting.notes (org integer REFERENCES public.orgs, note text);
INSERT INTO reporting.notes SELECT 1, 'kept';
"""
CATALOGUE = {
    "relations": """
        SELECT n.nspname, c.relname, c.relkind::text, pg_get_userbyid(c.relowner), c.relacl::text, c.reloptions,
            c.relrowsecurity, c.relforcerowsecurity, c.relreplident::text, obj_description(c.oid, 'pg_class')
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname IN ('public', 'reporting')""",
    "columns": """
        SELECT a.attrelid::regclass::text, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
            a.attidentity::text, a.attgenerated::text, pg_get_expr(d.adbin, d.adrelid), a.attacl::text, a.attstattarget,
            col_description(a.attrelid, a.attnum)
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'v')
        JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname IN ('public', 'reporting')
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum WHERE a.attnum > 0""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(k.oid), convalidated,
            obj_description(k.oid, 'pg_constraint')
        FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace AND n.nspname IN ('public', 'reporting')""",
    "indexes": """
        SELECT pg_get_indexdef(indexrelid), indisreplident, obj_description(indexrelid, 'pg_class')
        FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'public'""",
    "triggers": """
        SELECT pg_get_triggerdef(oid), tgenabled::text FROM pg_trigger
        WHERE NOT tgisinternal AND tgrelid = 'public.users'::regclass""",
    "rules": """
        SELECT pg_get_ruledef(r.oid) FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
        JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname IN ('public', 'reporting')""",
    "policies": "SELECT * FROM pg_policies WHERE schemaname = 'public'",
    "statistics": """
        SELECT pg_get_statisticsobjdef(s.oid) FROM pg_statistic_ext s
        JOIN pg_namespace n ON n.oid = s.stxnamespace AND n.nspname = 'public'""",
    "sequences": """
        SELECT schemaname, sequencename, data_type::text, start_value, min_value, max_value, increment_by, cycle,
            cache_size, pg_get_serial_sequence('public.users', 'id'), pg_get_serial_sequence('public.orgs', 'id')
        FROM pg_sequences WHERE schemaname = 'public'""",
    "functions": """
        SELECT pg_get_functiondef(p.oid) FROM pg_proc p
        JOIN pg_namespace n ON n.oid = p.pronamespace AND n.nspname = 'public'""",
    "types": """
        SELECT t.typname, t.typtype::text FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
        WHERE n.nspname = 'public' AND t.typtype = 'e'""",
}


@pytest.fixture(params=["postgres_server", "debian_postgres_server"])
def marked(request, marked_database, tmp_path):
    """On the newest PostgreSQL, and on an older one."""
    server = request.getfixturevalue(request.param)
    with server.database() as name:
        yield marked_database(server, name, tmp_path)


@pytest.fixture
def migrated(marked):
    """A database with a life of its own: two tables that migrations made, and what people built around them."""
    role = marked.name
    marked.execute(MIGRATIONS.format(role=role))
    marked.execute("INSERT INTO public.orgs (name) VALUES ('first'); INSERT INTO public.users (mood) VALUES ('ok')")
    yield marked
    marked.execute(
        f"DROP OWNED BY {role}_owner, {role}_reader, {role}_other CASCADE; "
        f"DROP ROLE {role}_owner, {role}_reader, {role}_other"
    )


def catalogue(database):
    return {what: sorted(map(repr, database.rows(query))) for what, query in CATALOGUE.items()}


def copy_of(folder, number, moods=("sad", "happy")):
    orgs = [(each, f"org {number}") for each in range(1, 11)]
    users = [(each, each % 10 + 1, moods[each % 2], [f"{number}", None]) for each in range(1, 101)]
    return {
        "orgs": write_table(folder / f"copy-{number}", ORGS, orgs),
        "users": write_table(folder / f"copy-{number}", USERS, users),
    }


def publish(database, folder, number, rules=None):
    target = database.target(rules=rules or PublishRules())
    return target.publish(METADATA, copy_of(folder, number), copy_id=str(number), keep=2, progress=unheard)


def test_the_catalogue_is_the_same_after_swaps(migrated, tmp_path):
    before = catalogue(migrated)
    for number in (1, 2, 3):
        publish(migrated, tmp_path, number)
        for what, found in catalogue(migrated).items():
            assert found == before[what], what
    migrated.target().rollback()
    assert catalogue(migrated) == before
    assert migrated.rows("SELECT n FROM public.happiest") == [(50,)]
    assert migrated.rows("SELECT public.population()") == [(100,)]
    assert migrated.rows("SELECT DISTINCT tags, doubled = 2 * id FROM public.users") == [(["2", None], True)]


def test_sequences_go_on_after_the_highest_key(migrated, tmp_path):
    publish(migrated, tmp_path, 1)
    assert migrated.rows("INSERT INTO public.users (mood) VALUES ('ok') RETURNING id") == [(103,)]
    assert migrated.rows("INSERT INTO public.orgs (name) VALUES ('new') RETURNING id") == [(11,)]


def test_what_stood_there_before_is_a_generation_to_go_back_to(migrated, tmp_path):
    assert publish(migrated, tmp_path, 1).number == 2
    assert [(each.number, each.copy, each.live) for each in migrated.target().generations()] == [
        (1, "", False),
        (2, "1", True),
    ]
    assert migrated.target().rollback().number == 1
    assert migrated.rows("SELECT name FROM public.orgs") == [("first",)]


def test_dependents_elsewhere_are_refused_or_follow(migrated, tmp_path):
    migrated.execute(ELSEWHERE)
    before = catalogue(migrated)
    with pytest.raises(PublishRefusedError, match="recreate") as refusal:
        publish(migrated, tmp_path, 1)
    assert "view reporting.moods" in str(refusal.value)
    assert "notes_org_fkey on table reporting.notes" in str(refusal.value)
    assert catalogue(migrated) == before
    publish(migrated, tmp_path, 1, PublishRules(recreate_dependents=True))
    assert catalogue(migrated) == before
    assert migrated.rows("SELECT sum(n) FROM reporting.moods") == [(100,)]
    assert migrated.rows("SELECT note FROM reporting.notes") == [("kept",)]


def interrupt(point):
    if point == "staged":
        raise KeyboardInterrupt


def test_materialized_views_are_refused_or_filled_before_the_swap(migrated, tmp_path):
    role = migrated.name
    migrated.execute(f"""
CREATE SCHEMA reporting;
CREATE MATERIALIZED VIEW reporting.crowds AS
    SELECT o.name, count(*) AS n FROM public.users u JOIN public.orgs o ON o.id = u."org id" GROUP BY o.name;
CREATE UNIQUE INDEX "by name" ON reporting.crowds (name);
CREATE MATERIALIZED VIEW public.empty AS SELECT public.twice(id) AS "a b" FROM public.users WITH NO DATA;
COMMENT ON MATERIALIZED VIEW reporting.crowds IS 'who is where';
GRANT SELECT ON reporting.crowds TO {role}_reader;
ALTER MATERIALIZED VIEW public.empty OWNER TO {role}_owner""")
    before = catalogue(migrated)
    with pytest.raises(PublishRefusedError, match=r"materialized view reporting\.crowds.*recreate"):
        publish(migrated, tmp_path, 1)
    asked = PublishRules(recreate_dependents=True)
    for number in (1, 2):
        publish(migrated, tmp_path, number, asked)
        assert catalogue(migrated) == before
        crowds = migrated.rows("SELECT DISTINCT name, n FROM reporting.crowds")
        assert crowds == [(f"org {number}", 100)]
        assert migrated.rows("SELECT relispopulated FROM pg_class WHERE relname = 'empty'") == [(False,)]
    with pytest.raises(PublishRefusedError, match="materialized view"):
        migrated.target().rollback()
    migrated.target(rules=asked).rollback()
    assert migrated.rows("SELECT DISTINCT name FROM reporting.crowds") == [("org 1",)]
    assert catalogue(migrated) == before
    for _ in range(2):  # what a failed run left of them goes with the next one
        with pytest.raises(KeyboardInterrupt):
            migrated.target(rules=asked, at=interrupt).publish(
                METADATA, copy_of(tmp_path, 3), copy_id="3", keep=2, progress=unheard
            )
    publish(migrated, tmp_path, 4, asked)
    assert migrated.rows("SELECT DISTINCT name FROM reporting.crowds") == [("org 4",)]
    homes = "SELECT count(*) FROM pg_namespace n WHERE nspname LIKE 'synth\\_ops\\__\\_%' AND NOT EXISTS "
    assert migrated.rows(homes + "(SELECT FROM pg_class WHERE relnamespace = n.oid)") == [(1,)], "the live one's"


def test_materialized_views_over_views_are_refused_or_filled_after_the_swap(migrated, tmp_path):
    migrated.execute("""
CREATE VIEW public.named AS SELECT name, id FROM public.orgs;
CREATE MATERIALIZED VIEW public.far AS SELECT DISTINCT name FROM public.named;
CREATE MATERIALIZED VIEW public.further AS SELECT DISTINCT name FROM public.far;
CREATE MATERIALIZED VIEW public.unfilled AS SELECT name FROM public.named WITH NO DATA""")
    before = catalogue(migrated)
    with pytest.raises(PublishRefusedError, match=r"materialized view public\.far; .*recreate"):
        publish(migrated, tmp_path, 1)
    asked = PublishRules(recreate_dependents=True)
    for number in (1, 2):
        publish(migrated, tmp_path, number, asked)
        for name in ("far", "further"):
            assert migrated.rows(f"SELECT name FROM public.{name}") == [(f"org {number}",)]
    migrated.target(rules=asked).rollback()
    assert migrated.rows("SELECT name FROM public.further") == [("org 1",)]
    assert migrated.rows("SELECT relispopulated FROM pg_class WHERE relname = 'unfilled'") == [(False,)]
    assert catalogue(migrated) == before


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        (
            "CREATE MATERIALIZED VIEW public.m AS TABLE public.users; CREATE VIEW public.over AS TABLE public.m",
            "view public.over",
        ),
        ("CREATE TABLE public.heirs () INHERITS (public.orgs)", "table public.heirs"),
        ("CREATE TABLE public.rows (one public.orgs)", "column one of table public.rows"),
    ],
)
def test_what_can_not_follow_is_refused(migrated, tmp_path, statement, named):
    migrated.execute(statement)
    with pytest.raises(PublishRefusedError, match="can't follow") as refusal:
        publish(migrated, tmp_path, 1, PublishRules(recreate_dependents=True))
    assert named in str(refusal.value)


def test_default_privileges_reach_new_tables(marked, tmp_path):
    marked.execute(f"CREATE ROLE {marked.name}_reader")
    marked.execute(f"ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {marked.name}_reader")
    for number in (1, 2):
        publish(marked, tmp_path, number)
        query = f"SELECT has_table_privilege('{marked.name}_reader', 'public.users', 'SELECT')"
        assert marked.rows(query) == [(True,)]
    marked.execute(f"DROP OWNED BY {marked.name}_reader; DROP ROLE {marked.name}_reader")


@pytest.mark.parametrize(
    "change",
    ["ALTER TABLE public.users ADD late integer", "CREATE STATISTICS public.late ON id, mood FROM public.users"],
)
def test_an_alteration_during_the_load_is_not_lost(migrated, tmp_path, change):
    def alter(point):
        if point == "swap begun":
            migrated.execute(change)

    from synth_ops.errors import TargetUnavailableError

    with pytest.raises(TargetUnavailableError, match="altered"):
        migrated.target(at=alter).publish(METADATA, copy_of(tmp_path, 1), copy_id="1", keep=2, progress=unheard)
    assert migrated.rows("SELECT name FROM public.orgs") == [("first",)]
    altered = catalogue(migrated)
    publish(migrated, tmp_path, 1)
    assert catalogue(migrated) == altered
    assert migrated.rows("SELECT count(*) FROM public.users") == [(100,)]
