"""The tests mirror both packages; `fakes` stand in for networks, `real` runs the process, `browser` the page, `bench` measures."""
