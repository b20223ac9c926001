"""The network: frontend, encoder, head, and subnets cut out of it."""

from supernet.network.engine_layers import import_engine_layers

# Before the modules here import fairseq2's layers in the ordinary way.
import_engine_layers()
