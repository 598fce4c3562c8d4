-- What is new in the raw store is found by listing each source from the newest manifest noted; now and
-- then all of its manifests are listed, for one that came late under an old key.

create table daymark.listing (
    source_id text primary key,
    listed_in_full_at timestamptz            -- none: the next listing must be a full one
);

-- Manifest keys are compared as the raw store orders them: byte by byte.
create index fetch_by_key on daymark.fetch (source_id, manifest_key collate "C");
create index fetch_failed on daymark.fetch (source_id, code_hash) where state = 'failed';
drop index daymark.fetch_by_source;
