"""Who sent what, how often and when: the model, what goes into it and what it says of one request."""
