"""The way of a message: from a receiver to its route, its handler, and back as a reply."""
