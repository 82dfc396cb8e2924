"""Files to text: what `wfst-entropy decode` does with each of its inputs."""
