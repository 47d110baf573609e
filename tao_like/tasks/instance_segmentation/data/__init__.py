"""Images, and the objects on them with masks."""
