/* mart
description = "Market days beside the weather of the same day: one row per symbol, location and date."
*/
select market.date,
       market.symbol,
       weather.location,
       market.close,
       market.daily_return,
       market.volatility_20d,
       market.drawdown,
       weather.temperature_max_c,
       weather.temperature_min_c,
       weather.temperature_mean_c,
       weather.temperature_anomaly_c,
       weather.precipitation_mm,
       weather.precipitation_7d_mm
from sp500_metrics as market
-- Days that only one side has say nothing about the two together: weekends have no market.
join weather_metrics as weather on weather.date = market.date
