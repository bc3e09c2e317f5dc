"""Learning: codecs first, then who refers to whom, then a block for every variable."""
