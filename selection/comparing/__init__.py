"""From a trained run to a comparison of all choices: choosing, judging, and choices of earlier selections."""
