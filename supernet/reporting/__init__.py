"""How runs and studies are shown: the look of pictures, and pages of HTML that need nothing else."""
