"""The client that others have published, against a real gateway: only its author's own code shows whether it gets along.

`packages` installs it, `published` runs it (`drive.mjs` is the part of that which runs in Node).
"""
