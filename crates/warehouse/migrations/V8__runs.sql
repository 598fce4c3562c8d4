-- Runs, steps and attempts as rows, runs that were killed, the log of a run, and days that were left out.

-- Who runs it, and that it lives. `heartbeat_at` is the one time that is the database's own: processes of
-- several machines, and of the demo's clock, must agree on how old it is.
alter table daymark.run add column holder text,
    add column holder_process text,          -- what tells the process apart on its machine, where that is known
    add column heartbeat_at timestamptz,
    add column reason text;                  -- why it failed as a whole, or was found dead
alter table daymark.run drop constraint run_outcome_check;
alter table daymark.run add constraint run_outcome_check
    check (outcome in ('succeeded', 'failed', 'interrupted'));
alter table daymark.run drop constraint run_kind_check;
alter table daymark.run add constraint run_kind_check
    check (kind in ('manual', 'scheduled', 'catch_up', 'rebuild', 'backfill', 'retry'));
create index run_by_start on daymark.run (started_at);
create index run_unfinished on daymark.run (run_id) where finished_at is null;

-- A step is one stage of a run for one source and entity; one in flight has no outcome.
alter table daymark.step rename column at to ended_at;
alter table daymark.step alter column ended_at drop not null, alter column outcome drop not null;
alter table daymark.step add column stage text not null default 'publish'
        check (stage in ('ingest', 'publish')),
    add column started_at timestamptz,
    add column error_kind text;
update daymark.step set started_at = run.started_at from daymark.run where run.run_id = step.run_id;
alter table daymark.step alter column started_at set not null, alter column stage drop default;
alter table daymark.step drop constraint step_pkey;
alter table daymark.step add primary key (run_id, source_id, data_date, entity, stage);
alter table daymark.step drop constraint step_outcome_check;
alter table daymark.step add constraint step_outcome_check
    check (outcome in ('fetched', 'refused', 'published', 'failed', 'quarantined', 'skipped', 'interrupted'));
alter table daymark.step add constraint step_ended_check check ((outcome is null) = (ended_at is null));
create index step_by_day on daymark.step (source_id, data_date);

-- Every request made. A fetch that another program kept (Lambda, `daymark fetch`) brings its own with its
-- manifest, into the run that publishes it.
create table daymark.attempt (
    attempt_id bigint generated always as identity primary key,
    run_id uuid not null references daymark.run,
    fetch_id uuid,                           -- none when the fetch left no manifest
    source_id text not null,
    data_date date not null,
    entity text not null default '',
    page integer not null,
    number integer not null,                 -- counted from 1 for each page
    at timestamptz not null,
    waited_ms bigint not null,
    duration_ms bigint,                      -- none in a manifest of an older program
    status integer,                          -- none when there was no answer
    bytes bigint,
    outcome text not null check (outcome in ('answered', 'failed')),
    error_kind text,
    message text,                            -- without secrets, as in the manifest
    unique (fetch_id, page, number)
);
create index attempt_by_run on daymark.attempt (run_id);
create index attempt_by_day on daymark.attempt (source_id, data_date);

-- What a run said. Bounded: of a long one the middle is left out, and a line says how much.
create table daymark.run_log (
    run_id uuid not null references daymark.run,
    line integer not null,
    at timestamptz not null,
    source_id text,                          -- none: the run as a whole
    level text not null check (level in ('info', 'warn', 'error')),
    message text not null,
    primary key (run_id, line)
);

-- Received and accepted, not published yet, is a state of its own.
alter table daymark.day drop constraint day_state_check;
alter table daymark.day add constraint day_state_check
    check (state in ('published', 'failed', 'quarantined', 'fetched'));
alter table daymark.day drop constraint day_last_outcome_check;
alter table daymark.day add constraint day_last_outcome_check
    check (last_outcome in ('published', 'failed', 'quarantined', 'fetched'));

-- Days that were left out on purpose: by what the schedule says of missed fires, or by a person. It stands
-- until an attempt after it.
create table daymark.skip (
    source_id text not null,
    data_date date not null,
    entity text not null default '',         -- '': the whole day of the source
    at timestamptz not null,
    kind text not null check (kind in ('missed', 'too_old', 'discarded')),
    by_whom text,
    reason text not null,
    primary key (source_id, data_date, entity)
);
