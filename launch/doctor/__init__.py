"""`bloomery doctor`: whether a machine, a set of hosts and a recipe go together, before a run finds out.

finding.py   what a check has found and what to do about it
machine.py   versions, GPUs, shared memory, the tracking server
fit.py       the recipe's layout, its memory and its disk
hosts.py     the hosts of a hostfile: reached by ssh, started by the launcher
probe.py     what every rank of such a start does: an all-reduce, and files in the work folder
"""
