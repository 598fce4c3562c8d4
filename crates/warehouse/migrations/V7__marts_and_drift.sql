-- Marts that are tables, and what sources change about the shape of their responses.

-- `definition` is all of a mart's file but its query that makes the view or the table.
alter table daymark.mart add column kind text not null default 'view' check (kind in ('view', 'table')),
    add column definition text not null default '';

-- What the responses of a source looked like when they were last published: each path with the types it
-- has had.
create table daymark.shape (
    source_id text not null,
    path text not null,
    types text[] not null,                   -- in order, without null
    is_mapped boolean not null,              -- whether a field of `[rows]` reads it
    is_always boolean not null,              -- whether every response had it since it came
    manifest_key text not null,              -- of the fetch that this is known from
    primary key (source_id, path)
);

-- What became other than it had been.
create table daymark.drift (
    drift_id bigint generated always as identity primary key,
    source_id text not null,
    kind text not null check (kind in ('new', 'missing', 'changed')),
    path text not null,
    old_types text[],
    new_types text[],
    example text,
    is_mapped boolean not null,              -- whether a field of `[rows]` reads it
    manifest_key text not null,
    fetch_id uuid not null,
    data_date date not null,
    entity text not null default '',
    fetched_at timestamptz not null,
    publish_id bigint,                       -- none when the fetch was not published
    run_id uuid not null,
    at timestamptz not null,
    unique (source_id, manifest_key, path, kind)
);
create index drift_by_source on daymark.drift (source_id, drift_id);

-- Up to which publish a rebuild has brought a table over to its files, and which they were.
alter table daymark.contract add column rebuilt_code text, add column rebuilt_publish bigint;
