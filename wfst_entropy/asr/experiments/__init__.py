"""Tables of experiments: what to run, running it to the end, and the page of results."""
