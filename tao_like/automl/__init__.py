"""A search over hyper-parameters: trainings as jobs, suggested by Optuna, chosen by their validation."""
