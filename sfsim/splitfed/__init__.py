"""The algorithms: clients, main server and fed server as SimPy processes; one protocol, one file."""
