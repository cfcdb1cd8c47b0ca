"""Programs that a model wrote, run in their own processes and folder, without a network or a long life.

run     the parent's side: starts, waits, ends all of it
inside  the child's side: a script of the standard library alone
"""
