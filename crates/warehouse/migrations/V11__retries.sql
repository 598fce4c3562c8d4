-- Days whose scheduled run failed: tried again for a while, then given up until a person decides.
create table daymark.retry (
    source_id text not null,
    data_date date not null,
    state text not null check (state in ('open', 'claimed', 'dead')),
    scheduled_at timestamptz not null,       -- the fire that failed first: its age is the day's
    attempts integer not null,               -- how often the schedule tried, the fire among them
    first_at timestamptz not null,           -- when it failed first
    last_at timestamptz not null,            -- when it failed last: the next try is reckoned from here
    reason text not null,                    -- why, the last time
    not_before timestamptz,                  -- a try that failed as a whole (the database was away) waits
    claims integer not null default 0,
    epoch bigint,                            -- the leadership under which it was claimed last
    run_id uuid,                             -- of the last claim
    dead_at timestamptz,                     -- when it was given up
    dead_because text,
    primary key (source_id, data_date),
    check (state <> 'claimed' or (epoch is not null and run_id is not null)),
    check ((state = 'dead') = (dead_at is not null and dead_because is not null))
);
create index retry_by_run on daymark.retry (run_id);
