"""The network: frontend, encoder, head, and subnets cut out of it."""
