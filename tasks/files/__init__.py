"""Files of corpora: a cache, members of archives, lines, problems."""
