"""What a terminal shows, for the commands and for Python alike: tables, progress, and how numbers are written."""
