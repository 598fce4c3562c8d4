-- Who schedules, and what was scheduled.

-- Leadership among the processes that keep the schedule. Its times are the database's own clock, so that
-- processes need not agree about the time. The row is also the scheduler's heartbeat.
create table daymark.lease (
    only_one boolean primary key default true check (only_one),
    holder text not null,                    -- the process that leads, or led last: `HOST:PID:ID`
    epoch bigint not null,                   -- one more at every change of the holder
    until timestamptz not null,              -- whoever finds it past may take over
    backend_pid integer not null,            -- the session the holder was last seen in
    since timestamptz not null,              -- when this epoch began
    seen_at timestamptz not null,            -- when the holder was last seen
    stopped_at timestamptz,                  -- when it gave the lease up
    next_fire_at timestamptz                 -- the next scheduled instant, as the holder reckons
);

-- Up to which instant the fires of a source are decided: each of them stands in daymark.fire, or lies before
-- the schedule was kept for the first time.
create table daymark.schedule (
    source_id text primary key,
    decided_until timestamptz not null
);

-- Every scheduled instant of every source, and what became of it.
create table daymark.fire (
    fire_id bigint generated always as identity primary key,
    source_id text not null,
    scheduled_at timestamptz not null,
    state text not null check (state in ('due', 'claimed', 'done', 'no_op', 'skipped', 'failed')),
    reason text,
    missed boolean not null,                 -- nobody acted on it in time: its run is a catch-up
    decided_at timestamptz not null,
    starts_at timestamptz not null,          -- not run before: its flexible window, or another try
    epoch bigint,                            -- the leadership under which it was claimed last
    claims integer not null default 0,
    claimed_at timestamptz,
    finished_at timestamptz,
    run_id uuid,                             -- of the last claim
    unique (source_id, scheduled_at),
    check (state <> 'claimed' or (epoch is not null and run_id is not null))
);
create index fire_open on daymark.fire (scheduled_at) where state in ('due', 'claimed');
create index fire_by_run on daymark.fire (run_id);

-- Times in which nothing is scheduled, of one source or of all.
create table daymark.pause (
    pause_id bigint generated always as identity primary key,
    source_id text,                          -- none: of every source
    since timestamptz not null,
    until timestamptz,                       -- none: until it is resumed
    why text,
    resumed_at timestamptz
);
