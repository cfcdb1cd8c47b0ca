"""Tasks as data: YAML files that say where rows are, how they become prompts, and how answers are scored."""
