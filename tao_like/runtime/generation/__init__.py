"""Making images with a model's graphs: schedules and samplers, in numpy."""
