"""Evidence measured on a trained run, and kept on disk."""
