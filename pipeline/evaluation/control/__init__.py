"""Control tasks of gymnasium: scripted experts, and agents that act in them."""
