"""Programs that call a gateway with one official client each, and tell what the client's user would have seen.

Each reads a list of jobs as JSON from standard input and writes one object, a result for each job, to standard output. They are
programs of their own because some run on other interpreters: older majors of the clients, and Node.
"""
