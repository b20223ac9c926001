"""Reports of runs and studies: the style of pictures, and self-contained HTML pages."""
