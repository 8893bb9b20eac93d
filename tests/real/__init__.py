"""The gateway as a process, from outside: real signals, real files, real sockets, and a Bot API server that counts."""
