"""Speech recognition on top of the graph engine: options, data, models, training."""
