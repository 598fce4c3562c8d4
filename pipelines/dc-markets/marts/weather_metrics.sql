/* mart
description = "Each day's weather with its anomaly and the rain of its week; per location."
*/
with day as (
    select location, date, temperature_max_c, temperature_min_c, precipitation_mm,
           -- The mean of the extremes; unknown when one of them is.
           (temperature_max_c + temperature_min_c) / 2 as temperature_mean_c
    from weather_daily
)
select location, date, temperature_max_c, temperature_min_c, temperature_mean_c, precipitation_mm,
       -- How much warmer than the mean of the 30 days before it. That needs no years of history and
       -- takes most of the season out: not all of it, since those days lie half a month back, so
       -- autumn leans to the cold side and spring to the warm. With fewer than 10 of them known there
       -- is nothing to compare with.
       case
           when count(temperature_mean_c) over month_before >= 10
               then temperature_mean_c - avg(temperature_mean_c) over month_before
       end as temperature_anomaly_c,
       -- A sum with a day missing would be too small, so all seven must be known.
       case
           when count(precipitation_mm) over week = 7 then sum(precipitation_mm) over week
       end as precipitation_7d_mm
from day
-- Frames of days, not of rows: a missing day must not stretch them.
window month_before as (
           partition by location
           order by date
           range between interval '30 days' preceding and interval '1 day' preceding
       ),
       week as (
           partition by location
           order by date
           range between interval '6 days' preceding and current row
       )
