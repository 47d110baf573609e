"""Checkpoints: what they hold, how a training goes on from one."""
