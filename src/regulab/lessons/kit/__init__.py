"""What lessons are made with: what a lesson is, where it experiments, and how it is run, printed and put on a page."""
