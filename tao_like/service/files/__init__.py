"""What goes to the disk and comes from it: uploads, archives, and the files that a job has left."""
