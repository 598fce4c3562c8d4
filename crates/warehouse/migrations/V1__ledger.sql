-- The ledger: what was fetched, published and skipped, and the state of every day.
-- Times are instants, written by the program from its clock, so that the demo's clock is obeyed.

create table daymark.pipeline (
    only_one boolean primary key default true check (only_one),
    name text not null,
    schema_name text not null,               -- of the curated tables
    last_fired_at timestamptz                -- the latest scheduled instant that was acted on
);

create table daymark.run (
    run_id uuid primary key,
    kind text not null check (kind in ('manual', 'scheduled', 'catch_up')),
    scheduled_at timestamptz,
    started_at timestamptz not null,
    finished_at timestamptz,
    outcome text check (outcome in ('succeeded', 'failed')),
    program_version text not null
);

-- What a run did for one source.
create table daymark.step (
    run_id uuid not null references daymark.run,
    source_id text not null,
    data_date date not null,
    outcome text not null check (outcome in ('published', 'failed', 'skipped')),
    reason text,
    at timestamptz not null,
    primary key (run_id, source_id, data_date)
);

create table daymark.publish (
    publish_id bigint primary key,
    run_id uuid not null references daymark.run,
    published_at timestamptz not null
);

create table daymark.publish_table (
    publish_id bigint not null references daymark.publish,
    table_name text not null,
    staged bigint not null,
    inserted bigint not null,
    updated bigint not null,
    unchanged bigint not null,
    deleted bigint not null,
    primary key (publish_id, table_name)
);

-- One row per manifest that was taken note of; a manifest without a row is unpublished.
create table daymark.fetch (
    manifest_key text primary key,
    fetch_id uuid not null unique,
    source_id text not null,
    data_date date not null,
    entity text,
    fetched_at timestamptz not null,
    state text not null check (state in ('published', 'refused', 'failed')),
    reason text,
    code_hash text not null,                 -- of the source's and its models' files, and the program
    publish_id bigint references daymark.publish,
    extracted bigint not null,
    rejected bigint not null,
    check ((state = 'published') = (publish_id is not null))
);
create index fetch_by_source on daymark.fetch (source_id);

-- A day's state is the best outcome reached; the last attempt's outcome stands beside it.
create table daymark.day (
    source_id text not null,
    data_date date not null,
    state text not null check (state in ('published', 'failed')),
    since timestamptz not null,
    reason text,
    last_outcome text not null check (last_outcome in ('published', 'failed')),
    last_reason text,
    last_at timestamptz not null,
    attempts integer not null,
    run_id uuid not null references daymark.run,
    publish_id bigint references daymark.publish,
    primary key (source_id, data_date)
);

-- The tables and views that are ours to change.
create table daymark.contract (
    table_name text primary key,
    source_file text not null,
    key_columns text[] not null,
    column_names text[] not null,
    column_definitions text[] not null
);

create table daymark.mart (
    view_name text primary key,
    position integer not null,
    sql text not null,
    refused text                             -- what PostgreSQL said, of one that it refused
);
