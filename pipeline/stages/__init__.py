"""The kinds of stages that train and evaluate, a module each, and the registry of all kinds."""
