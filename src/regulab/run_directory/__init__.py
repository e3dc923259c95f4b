"""What lies in a run directory: names, files that no link leads out of, readers that take nothing on trust."""
