"""Speech recognition with a trained network: chunking, decoding, transcripts."""
