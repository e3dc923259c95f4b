"""The datasets, one a file: each module defines one `Dataset`."""
