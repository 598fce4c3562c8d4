/* model
table = "weather_daily"
key   = ["location", "date"]
settled = "date < _data_date"        # today's row and those of the days to come are forecasts

# The bounds catch nonsense and let a place in degrees Fahrenheit through.
[columns]
location          = "text not null"
date              = "date not null"
temperature_max_c = "double precision check (temperature_max_c between -130 and 140)"
temperature_min_c = "double precision check (temperature_min_c between -130 and 140)"
precipitation_mm  = "double precision check (precipitation_mm >= 0)"

[[checks]]
name = "the warmest is not below the coldest"
severity = "warn"
sql = "select * from staged where temperature_max_c < temperature_min_c"

[[checks]]
name = "no day is missing"
severity = "warn"
no_gaps = { column = "date" }
*/
select _fetch_id, _fetch_row,                            -- where the row came from
       'washington-dc' as location,
       date, temperature_max_c, temperature_min_c, precipitation_mm
from raw_weather
where num_nonnulls(temperature_max_c, temperature_min_c, precipitation_mm) > 0
