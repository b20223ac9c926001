"""The work of each command, once its options are parsed; what it imports takes seconds."""
