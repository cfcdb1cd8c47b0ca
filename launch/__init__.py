"""The command line, the recipes and the cluster files: knows both other packages, and nobody imports it."""
