"""What a stage sees of a task, a small file each."""
