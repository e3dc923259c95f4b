"""The same net, data, batch, rotation and dropout, trained as others do it: the yardsticks of `throughput.py`."""
