"""`bloomery doctor --wheelhouse`: what nodes without a network need, gathered where there is one.

node.py      the nodes: their Python, platform and what they have
needs.py     what wheels ask for on such a node, and what of it is not there
gather.py    fetches wheels and builds those that come as source only, until nothing is missing
check.py     pip's own word for it, without an index; the folder's size; the command that installs it
stand_in.py  empty wheels in place of what the nodes have
"""
