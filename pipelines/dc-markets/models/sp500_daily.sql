/* model
table = "sp500_daily"
key   = ["symbol", "date"]
settled = "date <= _data_date"       # a later row is the running price of a session that is not over

[columns]
symbol    = "text not null"
date      = "date not null"
open      = "double precision check (open > 0)"
high      = "double precision check (high > 0)"
low       = "double precision check (low > 0)"
close     = "double precision not null check (close > 0)"
adj_close = "double precision check (adj_close > 0)"
volume    = "bigint check (volume >= 0)"

# Asked once of each fetch, and the answer kept: a split that was not adjusted, or a wrong unit, stays out
# until somebody says `daymark quarantine release`.
[[checks]]
name = "no close restated by more than 25 %"
max_change = { column = "close", ratio = 0.25 }

[[checks]]
name = "the high is the highest"
severity = "warn"
sql = "select * from staged where high < greatest(open, low, close)"

[[checks]]
name = "no session is missing"
severity = "warn"
no_gaps = { column = "date" }
*/
select distinct on (symbol, date)
       _fetch_id, _fetch_row,                            -- where the row came from
       symbol, date, open, high, low, close, adj_close, volume
from (
    select *,
           -- The stamp is the session's open, so its date is the date in the exchange's zone. Around
           -- DST changes some feeds stamp 22:00 or 23:00 of the evening before: those round up.
           ((opened_at at time zone zone) + interval '2 hours')::date as date
    from raw_sp500
) as bar
where close is not null                                  -- a bar not formed yet, or a day without trade
order by symbol, date, opened_at desc                    -- the live last row replaces the bar of its date
