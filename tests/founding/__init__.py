"""The race that founded this project, kept alive: what such programs do, and why three ways of guarding it are not enough."""
