"""Evidence that is measured on a trained run and kept on disk."""
