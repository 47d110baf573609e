"""The blocks of a spec that several tasks share. Field names are TAO's."""
