-- What is not kept for ever: requests and logs of old runs, and alerts that were resolved long ago.

alter table daymark.run add column logs_removed_at timestamptz; -- when its requests and its log were removed
create index run_with_logs on daymark.run (started_at) where logs_removed_at is null;
create index alert_resolved on daymark.alert (resolved_at) where resolved_at is not null;
alter table daymark.pipeline add column tidied_at timestamptz;  -- when there was nothing left to remove
