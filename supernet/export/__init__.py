"""Export of cut models to other runtimes, each verified against the cut model."""
