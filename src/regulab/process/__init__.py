"""The process that the program is: signals that stop it, and the streams that it writes to.

Built on the standard library alone, so that both are in order before anything slow is imported.
"""
