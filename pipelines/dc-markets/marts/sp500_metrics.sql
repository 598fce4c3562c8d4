/* mart
description = "Each market day with its return, volatility, moving averages and drawdown; per symbol."
*/
with bar as (
    select symbol, date, open, high, low, close, adj_close, volume,
           lag(close) over by_day as close_before,
           lag(date) over by_day as date_before
    from sp500_daily
    window by_day as (partition by symbol order by date)
),
moved as (
    select symbol, date, open, high, low, close, adj_close, volume,
           -- The longest regular pause of the exchange is four days. What lies across more than a
           -- week is a hole in the data, and its change is no return of one day.
           case
               when date - date_before <= 7 then close / close_before - 1
           end as daily_return
    from bar
)
select symbol, date, open, high, low, close, adj_close, volume,
       daily_return,
       -- The spread of the last 20 returns, as a year's: a year has about 252 market days. A window
       -- that is not full yet has no value, rather than one that means something else.
       case
           when count(daily_return) over last_20 = 20
               then stddev_samp(daily_return) over last_20 * sqrt(252)
       end as volatility_20d,
       case
           when count(close) over last_20 = 20 then avg(close) over last_20
       end as ma_20,
       case
           when count(close) over last_50 = 50 then avg(close) over last_50
       end as ma_50,
       -- How far below the highest close known until that day.
       close / max(close) over so_far - 1 as drawdown
from moved
window last_20 as (partition by symbol order by date rows between 19 preceding and current row),
       last_50 as (partition by symbol order by date rows between 49 preceding and current row),
       so_far as (partition by symbol order by date rows unbounded preceding)
