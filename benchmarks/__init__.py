"""Speed and memory of the pipeline, told against something simpler on the same work."""
