"""Pose classification: what a person does, from the joints of the skeleton over time."""
