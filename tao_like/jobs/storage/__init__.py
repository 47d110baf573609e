"""What the service keeps of its jobs: a database by SQLAlchemy."""
