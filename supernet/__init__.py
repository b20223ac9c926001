"""One CTC speech recogniser from which smaller ones are cut without fine-tuning."""

from supernet._native import load_libsndfile

# Before anything imports fairseq2, whose native half asks for the library by its plain name.
load_libsndfile()
