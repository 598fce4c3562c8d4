-- Alerts: what is wrong and since when, what is to be told of it, and to whom it was told.

-- One row from the moment something is wrong until it is well again. The key says what it is: a day
-- (`day:SOURCE:DATE`), a source's rejects (`rejects:SOURCE`), a check (`check:TABLE:CHECK`), ...
create table daymark.alert (
    alert_id bigint generated always as identity primary key,
    key text not null,
    event text not null,                     -- what is wrong now; a late day can come to be a missing one
    source_id text,
    data_date date,
    amount bigint,                           -- rows, where it is about rows
    reason text not null,
    opened_at timestamptz not null,
    resolved_at timestamptz
);
create unique index alert_open on daymark.alert (key) where resolved_at is null;
create index alert_by_key on daymark.alert (key, alert_id);

-- What happened to an alert, written in the transaction of the state it reports. Who is to be told of it is
-- decided after the commit, by whoever delivers; until then a row has no `planned_at`.
create table daymark.alert_outbox (
    message_id bigint generated always as identity primary key,
    alert_id bigint not null references daymark.alert,
    number integer not null,                 -- within the alert, counted from 1
    action text not null check (action in ('trigger', 'resolve')),
    event text not null,
    amount bigint,
    reason text not null,
    at timestamptz not null,
    planned_at timestamptz,
    unique (alert_id, number)
);
create index alert_outbox_new on daymark.alert_outbox (message_id) where planned_at is null;

-- One message to one channel.
create table daymark.alert_delivery (
    delivery_id bigint generated always as identity primary key,
    alert_id bigint not null references daymark.alert,
    channel text not null,
    number integer not null,                 -- within the alert and channel, counted from 1
    action text not null check (action in ('trigger', 'reminder', 'resolve')),
    event text not null,
    amount bigint,
    reason text not null,
    at timestamptz not null,
    state text not null default 'pending' check (state in ('pending', 'sent', 'given_up')),
    attempts integer not null default 0,
    next_at timestamptz not null,
    claimed_by uuid,                         -- by whom it is being sent, and until when that is believed
    claimed_until timestamptz,
    error text,                              -- of the last attempt
    sent_at timestamptz,
    unique (alert_id, channel, number)
);
create index alert_delivery_pending on daymark.alert_delivery (channel, delivery_id) where state = 'pending';

-- What nobody is to be told of, for a while.
create table daymark.alert_mute (
    mute_id bigint generated always as identity primary key,
    source_id text,                          -- none: all sources
    from_date date,                          -- none: from the first day on
    to_date date,                            -- none: to the last day
    until timestamptz,                       -- none: until it is taken back
    why text not null,
    by_whom text not null,
    at timestamptz not null,
    ended_at timestamptz
);
