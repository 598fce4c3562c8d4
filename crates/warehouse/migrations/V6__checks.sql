-- Checks: their results, the rows they set aside, and the days they hold back.

-- A fetch that a check holds back is tried again when its files change or a person releases it.
alter table daymark.fetch drop constraint fetch_state_check;
alter table daymark.fetch add constraint fetch_state_check
    check (state in ('published', 'refused', 'failed', 'quarantined'));
drop index daymark.fetch_failed;
create index fetch_to_try_again on daymark.fetch (source_id, code_hash)
    where state in ('failed', 'quarantined');

alter table daymark.day drop constraint day_state_check;
alter table daymark.day add constraint day_state_check
    check (state in ('published', 'failed', 'quarantined'));
alter table daymark.day drop constraint day_last_outcome_check;
alter table daymark.day add constraint day_last_outcome_check
    check (last_outcome in ('published', 'failed', 'quarantined'));

alter table daymark.step drop constraint step_outcome_check;
alter table daymark.step add constraint step_outcome_check
    check (outcome in ('published', 'failed', 'skipped', 'quarantined'));

-- What every check of every publish said of every fetch. It outlives a publish that published nothing.
create table daymark.check_result (
    result_id bigint generated always as identity primary key,
    publish_id bigint,                       -- none when the fetch was not published
    run_id uuid not null,
    at timestamptz not null,
    manifest_key text not null,
    fetch_id uuid not null,
    source_id text not null,
    data_date date not null,
    entity text not null default '',
    table_name text not null,
    check_name text not null,
    severity text not null check (severity in ('block', 'reject', 'warn')),
    outcome text not null check (outcome in ('passed', 'failed', 'released', 'error')),
    row_count bigint not null,               -- rows that were staged
    failing bigint not null,                 -- rows that offended
    sample jsonb,                            -- the first of them
    sql text,                                -- of a check that did not pass
    reason text
);
create index check_result_by_fetch on daymark.check_result (manifest_key);
create index check_result_by_day on daymark.check_result (source_id, data_date);
create index check_result_by_check on daymark.check_result (table_name, check_name, result_id);

-- Rows that were set aside: by extraction, which has no table and no check (its manifest shows the first
-- hundred and counts all), and by `reject` checks.
create table daymark.reject (
    reject_id bigint generated always as identity primary key,
    fetch_id uuid not null,
    fetch_row bigint,
    manifest_key text not null,
    source_id text not null,
    data_date date not null,
    entity text not null default '',
    table_name text,
    check_name text,
    value jsonb not null,
    reason text not null,
    publish_id bigint,                       -- none when the fetch was not published
    at timestamptz not null,
    check ((table_name is null) = (check_name is null))
);
create index reject_by_fetch on daymark.reject (fetch_id);
create index reject_by_day on daymark.reject (source_id, data_date);
