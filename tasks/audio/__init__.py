"""Audio of corpora: decoding, headers, noise, echo, augmentation."""
