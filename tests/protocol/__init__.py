"""The published protocol, and the one place where frames are held against it, whichever test received them."""
