"""The commands as they are given: names, options, and help with examples. What they do is beside this package, and imported when it is done."""
