"""A run as data: a job's states, its row in a database, the process that carries it, and who starts it where.

A job is an operating-system process that runs the ordinary command line. A supervisor in a session of its own
starts it, waits for it and writes ``exit.json``; so whoever submitted the job may die and come back.
"""
