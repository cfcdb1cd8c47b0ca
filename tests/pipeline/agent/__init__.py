"""Agents: values and steps as tokens, episodes, rows, layers, acting."""
