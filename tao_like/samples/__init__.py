"""Sample data that anybody can write to a folder. The data layer never reads from here."""
