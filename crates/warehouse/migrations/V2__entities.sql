-- A day of a source with entities has a row for each of them; '' is a source without.

alter table daymark.day add column entity text not null default '';
alter table daymark.day drop constraint day_pkey;
alter table daymark.day add primary key (source_id, data_date, entity);

alter table daymark.step add column entity text not null default '';
alter table daymark.step drop constraint step_pkey;
alter table daymark.step add primary key (run_id, source_id, data_date, entity);
