-- Write modes, restatements, histories, rebuilds.

-- How fetches land in a table. A table that was made before there was a choice is an upsert.
alter table daymark.contract add column write_mode text not null default 'upsert';

-- A rebuild is a run of its own: it publishes, and fetches nothing.
alter table daymark.run drop constraint run_kind_check;
alter table daymark.run add constraint run_kind_check
    check (kind in ('manual', 'scheduled', 'catch_up', 'rebuild'));

-- The published fetches that are newer than a late one, in the order of their manifests' keys.
create index fetch_published_by_key on daymark.fetch (source_id, manifest_key collate "C")
    where state = 'published';

-- What readers saw change: a log, and no function of the raw store. A row's deletion and return have no
-- column; their values are the whole row.
create table daymark.restatement (
    restatement_id bigint generated always as identity primary key,
    publish_id bigint not null references daymark.publish,
    table_name text not null,
    key jsonb not null,
    kind text not null check (kind in ('changed', 'deleted', 'returned')),
    column_name text,
    old_value jsonb,
    new_value jsonb,
    old_manifest text,                       -- null when that fetch is not in the ledger any more
    new_manifest text,
    check ((kind = 'changed') = (column_name is not null))
);
create index restatement_by_publish on daymark.restatement (publish_id);
create index restatement_rows on daymark.restatement (table_name, restatement_id) where kind <> 'changed';
