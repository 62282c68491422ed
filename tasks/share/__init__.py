"""What machines share, set by set: data sets, runs with their models, champions and forecasts."""
