"""Stand-ins for the services a gateway talks to, run inside the test process."""
