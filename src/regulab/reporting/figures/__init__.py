"""The figures of a report, one a file; `regulab.reporting.pages` finds them."""
